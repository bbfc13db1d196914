"""PReLU and its gradients, each compiled by XLA into one pass over the numbers.

As separate operations they take eight passes, which on a CPU cost a tenth of the step of
SphereFace-20.
"""

import tensorflow as tf

from keras_sphereface.utils.xla import compiled_by_xla


def prelu(inputs: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Return max(x, 0) + alpha min(x, 0), with the gradients of `keras.layers.PReLU`.

    Args:
        inputs: Float (B, H, W, C).
        alpha: Float (1, 1, C). Slopes of the channels.
    """
    # A gradient of one's own takes no variables among its arguments.
    return _prelu(tf.convert_to_tensor(inputs), tf.convert_to_tensor(alpha))


@tf.custom_gradient
def _prelu(inputs: tf.Tensor, alpha: tf.Tensor) -> tuple:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        by_inputs, by_alphas = _gradients(inputs, alpha, upstream)
        # A product with ones: XLA sums the rows of a matrix on a CPU one after another.
        ones = tf.ones((1, tf.shape(by_alphas)[0]), by_alphas.dtype)
        return by_inputs, tf.reshape(tf.matmul(ones, by_alphas), tf.shape(alpha))

    return _output(inputs, alpha), gradients


@compiled_by_xla
def _output(inputs: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    return tf.maximum(inputs, 0.0) + alpha * tf.minimum(inputs, 0.0)


@compiled_by_xla
def _gradients(
    inputs: tf.Tensor, alpha: tf.Tensor, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Those by the inputs, (B, H, W, C), and by the slope of every number, (B H W, C)."""
    # As with two ReLUs, the slope at 0 is 0.
    negative = tf.where(inputs < 0, alpha * upstream, 0.0)
    by_alphas = upstream * tf.minimum(inputs, 0.0)
    return (
        tf.where(inputs > 0, upstream, negative),
        tf.reshape(by_alphas, (-1, inputs.shape[-1])),
    )
