"""Keras callbacks."""

from keras_sphereface.callbacks.convergence_guard import ConvergenceGuard
from keras_sphereface.callbacks.pair_verification import PairVerification

__all__ = [
    "ConvergenceGuard",
    "PairVerification",
]
