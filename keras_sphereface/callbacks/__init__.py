"""Keras callbacks."""

from keras_sphereface.backend import BACKEND, tensorflow_names
from keras_sphereface.callbacks.convergence_guard import ConvergenceGuard

if BACKEND == "tensorflow":  # reads pairs by tf.data
    from keras_sphereface.callbacks.pair_verification import PairVerification

__all__ = [
    "ConvergenceGuard",
    "PairVerification",
]
if BACKEND != "tensorflow":
    __all__.remove("PairVerification")

__getattr__ = tensorflow_names(__name__, "PairVerification")
