"""Metrics on NumPy arrays: verification rates, protocols over folds, separability, templates.

Identification is in `keras_sphereface.metrics.identification`.
"""

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.metrics.all_pairs import ImpostorTail, genuine_scores, impostor_tail
from keras_sphereface.metrics.bootstrap import (
    Interval,
    bootstrap_intervals,
    bootstrap_mean_interval,
)
from keras_sphereface.metrics.calibration import (
    IsotonicCalibration,
    LinearCalibration,
    cllr,
    fit_isotonic_calibration,
    fit_linear_calibration,
    isotonic_llrs,
    min_cllr,
)
from keras_sphereface.metrics.dyadic import dyadic_variance, rate_interval, wilson_interval
from keras_sphereface.metrics.extreme_value import ParetoTail, fit_pareto_tail
from keras_sphereface.metrics.identity_bootstrap import (
    IdentityBootstrap,
    IdentityPairs,
    bootstrap_by_identity,
    draw_identity_counts,
    pair_weights,
)
from keras_sphereface.metrics.projection import (
    Projection,
    ProjectionScore,
    cross_validate_projections,
    fit_projection,
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
    "IdentityBootstrap",
    "IdentityPairs",
    "ImpostorTail",
    "Interval",
    "IsotonicCalibration",
    "KFoldResult",
    "LinearCalibration",
    "PairAngles",
    "ParetoTail",
    "Projection",
    "ProjectionScore",
    "Roc",
    "angular_fisher_score",
    "angular_gaps",
    "auc_score",
    "bootstrap_by_identity",
    "bootstrap_intervals",
    "bootstrap_mean_interval",
    "class_angles",
    "cllr",
    "cross_validate_projections",
    "draw_identity_counts",
    "dyadic_variance",
    "equal_error_rate",
    "fit_isotonic_calibration",
    "fit_linear_calibration",
    "fit_pareto_tail",
    "fit_projection",
    "genuine_scores",
    "impostor_tail",
    "isotonic_llrs",
    "k_fold",
    "min_cllr",
    "nearest_classes",
    "normalize_rows",
    "pair_angles",
    "pair_weights",
    "rate_interval",
    "roc_curve",
    "standard_error",
    "tar_at_far",
    "template_means",
    "threshold_at_far",
    "wilson_interval",
]
