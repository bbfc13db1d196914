"""Keras layers: preprocessing of faces, and `ASoftmax` for those who look for it here."""

from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.layers.face_preprocessing import FacePreprocessing

__all__ = [
    "ASoftmax",
    "FacePreprocessing",
]
