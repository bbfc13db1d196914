"""Convolutions in tiles, and their gradients, equal those of the definition."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.training.winograd import convolve, kernel_gradient


def by_definition(inputs, kernel):
    """The sum over the kernel's entries, in float64."""
    inputs, kernel = inputs.astype(np.float64), kernel.astype(np.float64)
    _, height, width, _ = inputs.shape
    padded = np.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def kernel_gradient_by_definition(inputs, upstream):
    inputs, upstream = inputs.astype(np.float64), upstream.astype(np.float64)
    _, height, width, _ = inputs.shape
    padded = np.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return np.array(
        [
            [
                np.tensordot(padded[:, i : i + height, j : j + width], upstream, [[0, 1, 2]] * 2)
                for j in range(3)
            ]
            for i in range(3)
        ]
    )


@pytest.mark.parametrize("size", [(6, 4), (7, 6), (5, 3), (1, 1)])
def test_output_and_gradients_are_those_of_the_definition(size):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((3, *size, 5)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 5, 4)).astype(np.float32)
    upstream = rng.standard_normal((3, *size, 4)).astype(np.float32)
    x, k = tf.constant(inputs), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([x, k])
        output = convolve(x, k)
    received = [output, *tape.gradient(output, [x, k], tf.constant(upstream))]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    expected = [
        by_definition(inputs, kernel),
        by_definition(upstream, turned),
        kernel_gradient_by_definition(inputs, upstream),
    ]
    for value, by_hand in zip(received, expected, strict=True):
        np.testing.assert_allclose(value, by_hand, rtol=0, atol=1e-6 * np.abs(by_hand).max())


@pytest.mark.parametrize("channels", [128, 512])
def test_with_many_channels_rounding_is_as_small_as_that_of_tensorflow(channels):
    rng = np.random.default_rng(channels)
    inputs = rng.standard_normal((2, 7, 6, channels)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, channels, channels)).astype(np.float32)
    expected = by_definition(inputs, kernel)
    np.testing.assert_allclose(
        convolve(inputs, kernel), expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )
    expected = kernel_gradient_by_definition(inputs, inputs)
    np.testing.assert_allclose(
        kernel_gradient(tf.constant(inputs), tf.constant(inputs)),
        expected,
        rtol=0,
        atol=2e-6 * np.abs(expected).max(),
    )


def test_the_number_of_images_may_be_unknown():
    kernel = tf.ones((3, 3, 2, 2))

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 6, 2))])
    def loss(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(convolve(images, kernel))
        return tape.gradient(total, images)

    for count in (1, 3):
        gradient = loss(tf.ones((count, 4, 6, 2))).numpy()
        assert gradient.shape == (count, 4, 6, 2)
        # An inner pixel is in nine windows, of two outputs each; a corner in four.
        assert (gradient[0, 1, 1, 0], gradient[0, 0, 0, 0]) == (18, 8)
