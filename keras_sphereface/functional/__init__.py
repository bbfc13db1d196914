"""The mathematics of SphereFace on tensors and arrays, without Keras."""

from keras_sphereface.functional.annealing import Annealing, annealing_lambda, blend
from keras_sphereface.functional.geometry import (
    angular_leads,
    angular_margin,
    class_arcs,
    class_spread,
    front_hemisphere,
    leading_class,
    on_circle,
    smallest_m,
    softmax_leads,
    two_class_bound,
)
from keras_sphereface.functional.margins import (
    added_angle,
    balanced_bias,
    divided_angle,
    multiplied_angle,
    safe_angle,
    stretched_cosine,
    subtracted_cosine,
)
from keras_sphereface.functional.norms import inverse_norms, l2_norm
from keras_sphereface.functional.psi import chebyshev, psi

__all__ = [
    "Annealing",
    "added_angle",
    "angular_leads",
    "angular_margin",
    "annealing_lambda",
    "balanced_bias",
    "blend",
    "chebyshev",
    "class_arcs",
    "class_spread",
    "divided_angle",
    "front_hemisphere",
    "inverse_norms",
    "l2_norm",
    "leading_class",
    "multiplied_angle",
    "on_circle",
    "psi",
    "safe_angle",
    "smallest_m",
    "softmax_leads",
    "stretched_cosine",
    "subtracted_cosine",
    "two_class_bound",
]
