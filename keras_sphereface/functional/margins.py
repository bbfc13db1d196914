"""The target functions of A-Softmax's relatives, as functions of the cosine.

(psi, that of A-Softmax itself, is in `angular`.) Each takes cosines of any shape and float
dtype and returns the same.
"""

import math

import numpy as np
import tensorflow as tf


def safe_angle(cos_theta: tf.Tensor) -> tf.Tensor:
    """theta in [0, pi] with a finite slope.

    The cosine is cut at one rounding step from +-1, where the slope of arccos is infinite;
    beyond the cut the gradient is 0.
    """
    limit = 1.0 - _epsilon(cos_theta)
    return tf.acos(tf.clip_by_value(cos_theta, -limit, limit))


def subtracted_cosine(cos_theta: tf.Tensor, m: float) -> tf.Tensor:
    """cos(theta) - m: CosFace (Wang et al., CVPR 2018, eq. 4)."""
    return cos_theta - m


def added_angle(cos_theta: tf.Tensor, m: float) -> tf.Tensor:
    """cos(theta + m): ArcFace (Deng et al., CVPR 2019, eq. 3), 0 <= m < pi.

    From theta = pi - m on, where cos(theta + m) would rise again, it is cos(theta) - m sin(m), as
    in the authors' code: it never rises with theta, but falls by a step there.
    """
    # The floor keeps the slope of the root finite at theta = 0 and pi.
    squared_sine = tf.maximum(1.0 - tf.square(cos_theta), _epsilon(cos_theta))
    turned = cos_theta * math.cos(m) - tf.sqrt(squared_sine) * math.sin(m)
    return tf.where(cos_theta > -math.cos(m), turned, cos_theta - m * math.sin(m))


def multiplied_angle(cos_theta: tf.Tensor, m: float) -> tf.Tensor:
    """cos(min(m theta, pi)), m >= 1: the target of SphereFace-R v1 (Liu et al., TPAMI 2022)."""
    return tf.cos(tf.minimum(m * safe_angle(cos_theta), math.pi))


def divided_angle(cos_theta: tf.Tensor, m: float) -> tf.Tensor:
    """cos(theta / m), m >= 1: the other classes of SphereFace-R v2 (Liu et al., TPAMI 2022)."""
    return tf.cos(safe_angle(cos_theta) / m)


def stretched_cosine(cos_theta: tf.Tensor) -> tf.Tensor:
    """g(z) = 2 ((z + 1) / 2)^3 - 1 from [-1, 1] to itself: SphereFace2 (Wen et al., ICLR 2022).

    It spreads cosines near 1 and draws those near -1 together.
    """
    return 2.0 * ((cos_theta + 1.0) / 2.0) ** 3 - 1.0


def balanced_bias(num_classes: int, scale: float, m: float, alpha: float) -> float:
    """The b at which SphereFace2's loss has no slope in b while every cosine is 0.

    That is alpha s(-(a_y + b)) = (1 - alpha) (C - 1) s(a_j + b), with s the logistic function,
    a_y = scale (g(0) - m) and a_j = scale (g(0) + m): a quadratic equation in e^b. So the one
    positive and the C - 1 negative terms are balanced at the start.
    """
    at_zero = 2.0 * 0.5**3 - 1.0
    own, others = scale * (at_zero - m), scale * (at_zero + m)
    ratio = alpha / ((1.0 - alpha) * (num_classes - 1))
    # e^(own + others) x^2 + e^others (1 - ratio) x - ratio = 0, solved without cancellation.
    root = math.sqrt((1.0 - ratio) ** 2 + 4.0 * ratio * math.exp(own - others))
    if ratio <= 1.0:
        return math.log(2.0 * ratio / (1.0 - ratio + root)) - others
    return math.log((ratio - 1.0 + root) / 2.0) - own


def _epsilon(tensor):
    return float(np.finfo(tensor.dtype.as_numpy_dtype).eps)
