"""Closed-set and open-set identification, and identification among distractors."""

from keras_sphereface.evaluation.identification.closed_set import ClosedSetMetrics
from keras_sphereface.evaluation.identification.distractors import DistractorsMetrics
from keras_sphereface.evaluation.identification.evaluate import evaluate_identification
from keras_sphereface.evaluation.identification.open_set import OpenSetMetrics

__all__ = [
    "ClosedSetMetrics",
    "DistractorsMetrics",
    "OpenSetMetrics",
    "evaluate_identification",
]
