"""Fast gradients of kernels equal those of the convolution's definition; which layers have them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.models import sphereface20
from keras_sphereface.training.kernel_gradients import (
    convolve,
    gradient_by_rows,
    gradient_in_tiles,
    use_fast_kernel_gradients,
)


def by_definition(inputs, upstream):
    """The sum over all pixels, kernel entry by kernel entry, in float64."""
    inputs, upstream = inputs.astype(np.float64), upstream.astype(np.float64)
    _, height, width, _ = inputs.shape
    padded = np.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return np.stack(
        [
            np.stack(
                [
                    np.einsum("bhwc,bhwk->ck", padded[:, i : i + height, j : j + width], upstream)
                    for j in range(3)
                ]
            )
            for i in range(3)
        ]
    )


@pytest.mark.parametrize("function", [gradient_in_tiles, gradient_by_rows])
@pytest.mark.parametrize("size", [(6, 4), (7, 6), (5, 3), (1, 1)])
def test_the_gradient_of_the_kernel_is_that_of_the_definition(size, function):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((3, *size, 5)).astype(np.float32)
    upstream = rng.standard_normal((3, *size, 4)).astype(np.float32)
    expected = by_definition(inputs, upstream)
    received = function(tf.constant(inputs), tf.constant(upstream))
    received = tf.reshape(received, (3, 3, 5, 4))
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_output_and_gradients_of_a_layer_stay_the_same():
    rng = np.random.default_rng(1)
    x, kernel = (
        tf.constant(rng.standard_normal(shape), tf.float32)
        for shape in ((2, 6, 5, 4), (3, 3, 4, 8))
    )
    results = []
    for function in (lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), convolve):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            output = function(x, kernel)
            loss = tf.reduce_sum(tf.sin(output))
        results.append([output, *tape.gradient(loss, [x, kernel])])
    for expected, received in zip(*results, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(received, expected, rtol=0, atol=2e-6 * scale)


def test_only_large_convolutions_of_the_right_kind_are_changed():
    inputs = keras.Input((8, 8, 128))
    kinds = {
        "changed": {},
        "strided": {"strides": 2},
        "valid": {"padding": "valid"},
        "pointwise": {"kernel_size": 1},
        "dilated": {"dilation_rate": 2},
        "narrow": {"filters": 32},
        "double": {"dtype": "float64"},
    }
    layers = []
    for name, changes in kinds.items():
        settings = {"filters": 128, "kernel_size": 3, "padding": "same", **changes}
        layers.append(keras.layers.Conv2D(**settings, name=name))
        layers[-1](inputs)
    network = keras.Model(inputs, [layer.output for layer in layers])
    assert [layer.name for layer in use_fast_kernel_gradients(network)] == ["changed"]


@pytest.mark.slow
def test_a_network_computes_and_is_saved_as_before(tmp_path):
    network = sphereface20(input_shape=(16, 16, 3), embedding_size=8, seed=0)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    before, config = network(image).numpy(), network.get_config()
    assert len(use_fast_kernel_gradients(network)) == 16
    np.testing.assert_array_equal(network(image), before)
    assert network.get_config() == config
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(image), before)
