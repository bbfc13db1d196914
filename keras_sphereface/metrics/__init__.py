"""Metrics on NumPy arrays: verification rates, protocols over folds, separability, templates.

Identification is in `keras_sphereface.metrics.identification`.
"""

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.metrics.bootstrap import (
    Interval,
    bootstrap_intervals,
    bootstrap_mean_interval,
)
from keras_sphereface.metrics.protocols import KFoldResult, k_fold, standard_error
from keras_sphereface.metrics.roc import (
    Roc,
    auc_score,
    equal_error_rate,
    roc_curve,
    tar_at_far,
    threshold_at_far,
)
from keras_sphereface.metrics.separability import (
    ClassAngles,
    ClassNeighbors,
    PairAngles,
    angular_fisher_score,
    angular_gaps,
    class_angles,
    nearest_classes,
    pair_angles,
)
from keras_sphereface.metrics.templates import template_means
from keras_sphereface.metrics.vectors import normalize_rows

__all__ = [
    "PROTOCOLS",
    "ClassAngles",
    "ClassNeighbors",
    "Interval",
    "KFoldResult",
    "PairAngles",
    "Roc",
    "angular_fisher_score",
    "angular_gaps",
    "auc_score",
    "bootstrap_intervals",
    "bootstrap_mean_interval",
    "class_angles",
    "equal_error_rate",
    "k_fold",
    "nearest_classes",
    "normalize_rows",
    "pair_angles",
    "roc_curve",
    "standard_error",
    "tar_at_far",
    "template_means",
    "threshold_at_far",
]
