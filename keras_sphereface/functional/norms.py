"""Euclidean norms whose gradients are finite at zero."""

from typing import Any

from keras_sphereface.backend import Tensor, column_norms, ops

# Norms are floored here: far below any norm that carries information in float32, while
# its square, 1e-24, and its inverse are still finite float32 numbers.
NORM_FLOOR = 1e-12


def l2_norm(x: Tensor, axis: int = -1) -> Tensor:
    """Return the Euclidean norm along `axis`, kept as a dimension of size 1.

    The norm is floored at `NORM_FLOOR`: a zero vector has norm 1e-12 and a zero gradient,
    where the plain norm would have a nan gradient.

    Example:
        >>> np.asarray(l2_norm(np.array([[3.0, 4.0], [6.0, 8.0]]))).tolist()
        [[5.0], [10.0]]
    """
    squared = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.sqrt(ops.maximum(squared, NORM_FLOOR**2))


def l2_normalize(x: Tensor) -> Tensor:
    """Return the vectors of the last axis at unit length; zero stays zero.

    Example:
        >>> np.asarray(l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    return x / l2_norm(x)


@ops.custom_gradient
def _inverse_norms(kernel: Tensor) -> tuple:
    norms = column_norms(kernel)
    inverse = 1.0 / ops.maximum(norms, NORM_FLOOR)

    def gradient(*args: Tensor, upstream: Any = None) -> Tensor:
        upstream = args[0] if upstream is None else upstream
        slopes = ops.where(norms > NORM_FLOOR, upstream * inverse**3, ops.zeros_like(norms))
        return -kernel * slopes

    return inverse, gradient


def inverse_norms(kernel: Tensor) -> Tensor:
    """Return 1 / |w_j| of each column, (D, C) -> (C,); the norm is floored at `NORM_FLOOR`.

    Example:
        >>> np.asarray(inverse_norms(np.array([[3.0, 0.0], [4.0, 2.0]]))).tolist()
        [0.2, 0.5]
    """
    return _inverse_norms(kernel)
