"""Keras layers: preprocessing of faces, and `ASoftmax`, which is defined in `heads`."""

from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.layers.face_preprocessing import FacePreprocessing

__all__ = [
    "ASoftmax",
    "FacePreprocessing",
]
