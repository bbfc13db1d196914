"""Euclidean norms whose gradients are finite at zero."""

from collections.abc import Callable

import tensorflow as tf

# Norms are floored here: far below any norm that carries information in float32, while
# its square, 1e-24, and its inverse are still finite float32 numbers.
NORM_FLOOR = 1e-12


def l2_norm(x: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """Return the Euclidean norm along `axis`, kept as a dimension of size 1.

    The norm is floored at `NORM_FLOOR`: a zero vector has norm 1e-12 and a zero gradient,
    where the plain norm would have a nan gradient.

    Example:
        >>> l2_norm(tf.constant([[3.0, 4.0], [6.0, 8.0]])).numpy().tolist()
        [[5.0], [10.0]]
    """
    squared = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    return tf.sqrt(tf.maximum(squared, tf.cast(NORM_FLOOR**2, squared.dtype)))


def l2_normalize(x: tf.Tensor) -> tf.Tensor:
    """Return the vectors of the last axis at unit length; zero stays zero.

    Example:
        >>> l2_normalize(tf.constant([[3.0, 4.0], [0.0, 0.0]], "float64")).numpy().tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    return x / l2_norm(x)


@tf.custom_gradient
def _inverse_norms(kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    norms = tf.sqrt(tf.reduce_sum(tf.square(kernel), axis=0))
    floor = tf.cast(NORM_FLOOR, norms.dtype)
    inverse = 1.0 / tf.maximum(norms, floor)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        slopes = tf.where(norms > floor, upstream * inverse**3, tf.zeros_like(norms))
        return -kernel * slopes

    return inverse, gradient


def inverse_norms(kernel: tf.Tensor) -> tf.Tensor:
    """Return 1 / |w_j| of each column, (D, C) -> (C,); the norm is floored at `NORM_FLOOR`.

    Example:
        >>> inverse_norms(tf.constant([[3.0, 0.0], [4.0, 2.0]], "float64")).numpy().tolist()
        [0.2, 0.5]
    """
    return _inverse_norms(kernel)
