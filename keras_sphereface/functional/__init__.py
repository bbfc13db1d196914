"""The mathematics of SphereFace on tensors and arrays, without Keras."""

from keras_sphereface.functional.annealing import Annealing, annealing_lambda, blend
from keras_sphereface.functional.distances import off_diagonal, pairwise_distances
from keras_sphereface.functional.geometry import (
    Spread,
    angular_leads,
    angular_margin,
    class_arcs,
    class_spread,
    front_hemisphere,
    leading_class,
    on_circle,
    psi_of_angle,
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
from keras_sphereface.functional.norms import inverse_norms, l2_norm, l2_normalize
from keras_sphereface.functional.psi import chebyshev, psi
from keras_sphereface.functional.scales import auto_scale

__all__ = [
    "Annealing",
    "Spread",
    "added_angle",
    "angular_leads",
    "angular_margin",
    "annealing_lambda",
    "auto_scale",
    "balanced_bias",
    "blend",
    "chebyshev",
    "class_arcs",
    "class_spread",
    "divided_angle",
    "front_hemisphere",
    "inverse_norms",
    "l2_norm",
    "l2_normalize",
    "leading_class",
    "multiplied_angle",
    "off_diagonal",
    "on_circle",
    "pairwise_distances",
    "psi",
    "psi_of_angle",
    "safe_angle",
    "smallest_m",
    "softmax_leads",
    "stretched_cosine",
    "subtracted_cosine",
    "two_class_bound",
]
