"""psi(theta) of A-Softmax by Chebyshev terms, without arccos."""

import functools
import math
from collections.abc import Callable

from keras_sphereface.backend import Tensor, compiled, dtype_of, ops
from keras_sphereface.utils.validation import check_integer


def chebyshev(cos_theta: Tensor, degree: int) -> Tensor:
    """Return cos(degree * theta), the Chebyshev polynomial T_degree of cos(theta).

    T_0 = 1, T_1 = c, T_n = 2 c T_(n-1) - T_(n-2).

    Args:
        cos_theta: Cosines in [-1, 1] of any shape and float dtype.
        degree: Int >= 0.

    Example:
        >>> np.asarray(chebyshev(np.array([1.0, 0.5]), 2)).tolist()
        [1.0, -0.5]
    """
    previous, current = ops.ones_like(cos_theta), cos_theta
    if degree == 0:
        return previous
    for _ in range(degree - 1):
        previous, current = current, 2.0 * cos_theta * current - previous
    return current


def psi(cos_theta: Tensor, m: int) -> Tensor:
    """Return psi(theta) = (-1)^k cos(m theta) - 2k, computed from cos(theta).

    k is the number of breakpoints cos(j pi / m), j = 1..m-1, that the cosine has passed.
    psi falls without a jump from 1 at theta = 0 to 1 - 2m at theta = pi. There is no
    arccos, so the slope in cos(theta) is finite everywhere, the poles included; the
    comparisons that count k carry no gradient. The terms are compiled once for each m and dtype.

    Args:
        cos_theta: Cosines in [-1, 1] of any shape and float dtype.
        m: Int >= 1. The margin.

    Returns:
        psi, in [1 - 2m, 1], of the shape and dtype of `cos_theta`.

    Raises:
        TypeError, ValueError: If `m` is not an int >= 1.

    Reference: Liu et al., "SphereFace", CVPR 2017, equation 7.

    Example:
        >>> np.asarray(psi([1.0, 0.5, -1.0], m=4)).tolist()
        [1.0, -1.5, -7.0]
    """
    cos_theta = ops.convert_to_tensor(cos_theta)
    terms = _compiled_psi(check_integer(m, "m", 1), dtype_of(cos_theta))
    # Always of one rank: traced for several, the function and its gradient would know none, and
    # Keras asks losses for theirs.
    return ops.reshape(terms(ops.reshape(cos_theta, [-1])), ops.shape(cos_theta))


@functools.cache
def _compiled_psi(m: int, dtype: str) -> Callable[[Tensor], Tensor]:
    breakpoints = [math.cos(j * math.pi / m) for j in range(1, m)]

    def terms(cos_theta: Tensor) -> Tensor:
        k = ops.zeros_like(cos_theta)
        for breakpoint_ in breakpoints:
            k = k + ops.cast(cos_theta <= breakpoint_, dtype)
        sign = 1.0 - 2.0 * ops.mod(k, 2.0)
        return sign * chebyshev(cos_theta, m) - 2.0 * k

    return compiled(terms, dtype)
