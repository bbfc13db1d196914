"""Euclidean norms whose gradients are finite at zero."""

import tensorflow as tf

# Norms are floored here: far under any norm that carries information in float32, while
# its square, 1e-24, and its inverse are still finite float32 numbers.
NORM_FLOOR = 1e-12


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
