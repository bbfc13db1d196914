"""The mathematics of A-Softmax, free of any framework class.

Everything here is a function of tensors (or of a step number). The names follow
Liu, Wen, Yu, Li, Raj, Song, "SphereFace: Deep Hypersphere Embedding for Face
Recognition", CVPR 2017.
"""

import functools
import math
import numbers
from typing import NamedTuple

import tensorflow as tf

# Norms are floored here: far under any norm that carries information in float32, while
# its square, 1e-24, and its inverse are still finite float32 numbers.
NORM_FLOOR = 1e-12


class Annealing(NamedTuple):
    """The authors' annealing arguments; `Annealing(base=0, lambda_min=0)` is the pure margin."""

    base: float = 1000.0
    gamma: float = 0.12
    power: float = 1.0
    lambda_min: float = 5.0
    warm_start: int = 0  # first steps with m = 1; the authors have none


def check_integer(value: int, name: str, minimum: int) -> int:
    """Return `value` as an int if it is a whole number >= `minimum`; raise otherwise."""
    message = f"`{name}` must be an int >= {minimum}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message)
    if value < minimum:
        raise ValueError(message)
    return int(value)


def check_real(value: float, name: str, low: float, high: float = math.inf) -> float:
    """Return `value` as a float if it is finite and in [low, high]; raise otherwise."""
    allowed = f">= {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    message = f"`{name}` must be a finite number {allowed}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message)
    if not (low <= float(value) <= high and math.isfinite(value)):
        raise ValueError(message)
    return float(value)


def check_annealing(annealing: Annealing) -> Annealing:
    """Return `annealing` as plain numbers if all are finite and >= 0; raise otherwise."""
    values = annealing._asdict()
    warm_start = check_integer(values.pop("warm_start"), "warm_start", 0)
    reals = {name: check_real(value, name, 0.0) for name, value in values.items()}
    return Annealing(**reals, warm_start=warm_start)


def l2_norm(x: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """Euclidean norm along `axis`, kept as a dimension of size 1.

    The norm is floored at `NORM_FLOOR`: a zero vector has norm 1e-12 and a zero gradient,
    where the plain norm would have a nan gradient.
    """
    squared = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    return tf.sqrt(tf.maximum(squared, tf.cast(NORM_FLOOR**2, squared.dtype)))


@tf.custom_gradient
def inverse_norms(kernel: tf.Tensor) -> tf.Tensor:
    """1 / |w_j| of each column: (D, C) -> (C,); the norm is floored at `NORM_FLOOR`."""
    norms = tf.sqrt(tf.reduce_sum(tf.square(kernel), axis=0))
    floor = tf.cast(NORM_FLOOR, norms.dtype)
    inverse = 1.0 / tf.maximum(norms, floor)

    def gradient(upstream):
        slopes = tf.where(norms > floor, upstream * inverse**3, tf.zeros_like(norms))
        return -kernel * slopes

    return inverse, gradient


def chebyshev(cos_theta: tf.Tensor, degree: int) -> tf.Tensor:
    """cos(degree * theta), as the Chebyshev polynomial T_degree of cos(theta).

    T_0 = 1, T_1 = c, T_n = 2 c T_(n-1) - T_(n-2); `degree` is a Python int >= 0.
    """
    previous, current = tf.ones_like(cos_theta), cos_theta
    if degree == 0:
        return previous
    for _ in range(degree - 1):
        previous, current = current, 2.0 * cos_theta * current - previous
    return current


def psi(cos_theta: tf.Tensor, m: int) -> tf.Tensor:
    """psi(theta) = (-1)^k cos(m theta) - 2k, computed from cos(theta) (paper, eq. 7).

    k is the number of breakpoints cos(j pi / m), j = 1..m-1, that the cosine has passed.
    psi falls without a jump from 1 at theta = 0 to 1 - 2m at theta = pi. There is no
    arccos, so the slope in cos(theta) is finite everywhere, the poles included; the
    comparisons that count k carry no gradient. The terms are compiled once for each m and dtype.

    Args:
        cos_theta: cosines in [-1, 1], any shape, any float dtype.
        m: the margin, a Python int >= 1.

    Returns:
        psi, of the shape and dtype of `cos_theta`.

    Raises:
        TypeError, ValueError: if `m` is not an int >= 1.
    """
    cos_theta = tf.convert_to_tensor(cos_theta)
    compiled = _compiled_psi(check_integer(m, "m", 1), cos_theta.dtype)
    # Always of one rank: traced for several, the function and its gradient would know none, and
    # Keras asks losses for theirs.
    return tf.reshape(compiled(tf.reshape(cos_theta, [-1])), tf.shape(cos_theta))


@functools.cache
def _compiled_psi(m, dtype):
    breakpoints = [math.cos(j * math.pi / m) for j in range(1, m)]

    @tf.function(input_signature=[tf.TensorSpec((None,), dtype)], autograph=False)
    def compiled(cos_theta):
        k = tf.zeros_like(cos_theta)
        for breakpoint_ in breakpoints:
            k += tf.cast(cos_theta <= tf.cast(breakpoint_, cos_theta.dtype), cos_theta.dtype)
        sign = 1.0 - 2.0 * tf.math.mod(k, 2.0)
        return sign * chebyshev(cos_theta, m) - 2.0 * k

    return compiled


def blend(cos_theta: tf.Tensor, m: int, annealing_lambda: tf.Tensor) -> tf.Tensor:
    """What A-Softmax puts in the place of cos(theta_y): (lambda cos + psi) / (1 + lambda).

    Args:
        cos_theta: cosines, any shape.
        m: the margin, a Python int >= 1.
        annealing_lambda: lambda, >= 0; 0 is the pure margin, and infinity the cosine itself.
    """
    # Written so that an infinite lambda gives no inf / inf.
    return cos_theta + (psi(cos_theta, m) - cos_theta) / (1.0 + annealing_lambda)


def annealing_lambda(step: tf.Tensor, annealing: Annealing = Annealing()) -> tf.Tensor:
    """lambda = max(lambda_min, base * (1 + gamma * step)^(-power)), float32.

    `step` is the number of the training step being taken, the first being 1: with the
    authors' arguments lambda is 892.9 at step 1, 16.36 at 501 and 5 from 1659 on. In the first
    `warm_start` steps lambda is infinite, which is m = 1, and the count begins after them.
    """
    base, gamma, power, lambda_min, warm_start = annealing
    step = tf.cast(step, tf.float32) - float(warm_start)
    decay = tf.pow(1.0 + gamma * tf.maximum(step, 0.0), -power)
    value = tf.maximum(tf.cast(lambda_min, tf.float32), base * decay)
    if warm_start == 0:
        return value
    return tf.where(step > 0.0, value, float("inf"))
