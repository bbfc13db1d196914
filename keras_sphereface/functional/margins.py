"""The target functions of A-Softmax's relatives, as functions of the cosine.

(psi, that of A-Softmax itself, is in `functional.psi`.) Each takes cosines of any shape and float
dtype and returns the same.
"""

import math

import numpy as np

from keras_sphereface.backend import Tensor, dtype_of, ops


def safe_angle(cos_theta: Tensor) -> Tensor:
    """Return theta in [0, pi], with a finite slope.

    The cosine is clipped at one rounding step from +-1, where the slope of arccos is infinite;
    beyond the clip the gradient is 0.

    Example:
        >>> bool(np.isclose(safe_angle(np.zeros(())), np.pi / 2))
        True
    """
    limit = 1.0 - _epsilon(cos_theta)
    return ops.arccos(ops.clip(cos_theta, -limit, limit))


def subtracted_cosine(cos_theta: Tensor, m: float) -> Tensor:
    """Return cos(theta) - m, the target of CosFace.

    Reference: Wang et al., "CosFace", CVPR 2018, equation 4.

    Example:
        >>> np.asarray(subtracted_cosine(np.array([0.75]), 0.25)).tolist()
        [0.5]
    """
    return cos_theta - m


def added_angle(cos_theta: Tensor, m: float | Tensor) -> Tensor:
    """Return cos(theta + m), the target of ArcFace.

    From theta = pi - m on, where cos(theta + m) would rise again, it is cos(theta) - m sin(m), as
    in the code of Deng et al.: it never rises with theta, but falls by a step there.

    Args:
        cos_theta: Cosines in [-1, 1] of any shape.
        m: The margin in radians, in [0, pi), or one for each cosine, by which the result is
            differentiated too.

    Reference: Deng et al., "ArcFace", CVPR 2019, equation 3.

    Example:
        >>> np.asarray(added_angle(np.array([0.5]), math.pi / 6)).round(3).tolist()
        [0.0]
    """
    # The floor keeps the slope of the root finite at theta = 0 and pi.
    squared_sine = ops.maximum(1.0 - ops.square(cos_theta), _epsilon(cos_theta))
    cos_m, sin_m = (f(m) for f in ((math.cos, math.sin) if _is_number(m) else (ops.cos, ops.sin)))
    rotated = cos_theta * cos_m - ops.sqrt(squared_sine) * sin_m
    return ops.where(cos_theta > -cos_m, rotated, cos_theta - m * sin_m)


def multiplied_angle(cos_theta: Tensor, m: float) -> Tensor:
    """Return cos(min(m theta, pi)), m >= 1, the target of SphereFace-R v1.

    Reference: Liu et al., "SphereFace Revived", TPAMI 2022.

    Example:
        >>> np.asarray(multiplied_angle(np.array([0.5, -1.0]), 2.0)).round(3).tolist()
        [-0.5, -1.0]
    """
    return ops.cos(ops.minimum(m * safe_angle(cos_theta), math.pi))


def divided_angle(cos_theta: Tensor, m: float) -> Tensor:
    """Return cos(theta / m), m >= 1, for the negative classes of SphereFace-R v2.

    Reference: Liu et al., "SphereFace Revived", TPAMI 2022.

    Example:
        >>> np.asarray(divided_angle(np.array([-0.5]), 2.0)).round(3).tolist()
        [0.5]
    """
    return ops.cos(safe_angle(cos_theta) / m)


def stretched_cosine(cos_theta: Tensor) -> Tensor:
    """Return g(z) = 2 ((z + 1) / 2)^3 - 1, from [-1, 1] to itself, for SphereFace2.

    It spreads cosines near 1 and draws those near -1 together.

    Reference: Wen et al., "SphereFace2", ICLR 2022.

    Example:
        >>> np.asarray(stretched_cosine(np.array([1.0, 0.0, -1.0]))).tolist()
        [1.0, -0.75, -1.0]
    """
    return 2.0 * ((cos_theta + 1.0) / 2.0) ** 3 - 1.0


def balanced_bias(num_classes: int, scale: float, m: float, alpha: float) -> float:
    """Return the b at which SphereFace2's loss has no slope in b while every cosine is 0.

    That is alpha s(-(a_y + b)) = (1 - alpha) (C - 1) s(a_j + b), with s the logistic function,
    a_y = scale (g(0) - m) and a_j = scale (g(0) + m): a quadratic equation in e^b. So the one
    positive and the C - 1 negative terms are balanced at the start.

    Args:
        num_classes: Int >= 2. C.
        scale: Factor on the cosines, > 0.
        m: The margin, in [0, 1].
        alpha: Weight of the positive term, in (0, 1).

    Example:
        >>> round(balanced_bias(2, scale=40.0, m=0.0, alpha=0.5), 6)
        30.0
    """
    at_zero = 2.0 * 0.5**3 - 1.0
    target, negative = scale * (at_zero - m), scale * (at_zero + m)
    ratio = alpha / ((1.0 - alpha) * (num_classes - 1))
    # e^(target + negative) x^2 + e^negative (1 - ratio) x - ratio = 0, without cancellation.
    root = math.sqrt((1.0 - ratio) ** 2 + 4.0 * ratio * math.exp(target - negative))
    if ratio <= 1.0:
        return math.log(2.0 * ratio / (1.0 - ratio + root)) - negative
    return math.log((ratio - 1.0 + root) / 2.0) - target


def _is_number(m: float | Tensor) -> bool:
    return isinstance(m, int | float)


def _epsilon(tensor: Tensor) -> float:
    return float(np.finfo(dtype_of(tensor)).eps)
