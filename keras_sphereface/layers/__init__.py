"""Keras layers: preprocessing of faces, and `ASoftmax`, which is defined in `heads`."""

from keras_sphereface.backend import BACKEND, tensorflow_names
from keras_sphereface.heads.asoftmax import ASoftmax

if BACKEND == "tensorflow":  # augments in TensorFlow's operations
    from keras_sphereface.layers.face_preprocessing import FacePreprocessing

__all__ = [
    "ASoftmax",
    "FacePreprocessing",
]
if BACKEND != "tensorflow":
    __all__.remove("FacePreprocessing")

__getattr__ = tensorflow_names(__name__, "FacePreprocessing")
