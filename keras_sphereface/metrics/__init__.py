"""Arrays in, numbers out."""

from keras_sphereface.metrics.bootstrap import intervals
from keras_sphereface.metrics.protocols import PROTOCOLS, k_fold
from keras_sphereface.metrics.roc import (
    Roc,
    auc_score,
    equal_error,
    tar_at_far,
    threshold_at_far,
)
from keras_sphereface.metrics.separability import angular_fisher_score, class_angles, pair_angles
from keras_sphereface.metrics.templates import template_means

__all__ = [
    "PROTOCOLS",
    "Roc",
    "angular_fisher_score",
    "auc_score",
    "class_angles",
    "equal_error",
    "intervals",
    "k_fold",
    "pair_angles",
    "tar_at_far",
    "template_means",
    "threshold_at_far",
]
