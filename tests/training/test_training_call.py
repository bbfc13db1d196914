"""The call in training: which layers are fast, and that everything else stays as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.models import sphereface10
from keras_sphereface.training import training_call as module
from keras_sphereface.training.recompute import recomputing
from keras_sphereface.training.training_call import fast_training_call, training_call
from keras_sphereface.utils.compat import tf_variable


def operations(call, images):
    """How often the graph of a call and of its gradient uses each kind of operation."""

    @tf.function
    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(call(images))
        return tape.gradient(loss, images)

    graph = gradient.get_concrete_function(images).graph
    kinds = [op.type for op in graph.get_operations()]
    return {kind: kinds.count(kind) for kind in ("Conv2D", "Conv2DBackpropInput", "Relu")}


@pytest.mark.parametrize(
    ("name", "changes", "is_fast"),
    [
        ("large", {}, True),
        ("strided", {"strides": 2}, False),
        ("valid", {"padding": "valid"}, False),
        ("pointwise", {"kernel_size": 1}, False),
        ("dilated", {"dilation_rate": 2}, False),
        ("narrow", {"filters": 32}, False),
        ("double", {"dtype": "float64"}, False),
    ],
)
def test_only_large_convolutions_of_the_right_kind_are_fast(name, changes, is_fast):
    inputs = keras.Input((8, 8, 128))
    settings = {"filters": 128, "kernel_size": 3, "padding": "same", **changes}
    network = keras.Model(inputs, keras.layers.Conv2D(**settings)(inputs))
    count = operations(fast_training_call(network), tf.ones((2, 8, 8, 128)))
    assert (count["Conv2D"], count["Conv2DBackpropInput"]) == ((0, 0) if is_fast else (1, 1))


@pytest.mark.parametrize(
    ("channels", "shared_axes", "is_fast"),
    [(64, [1, 2], True), (32, [1, 2], False), (64, None, False)],
)
def test_only_prelus_of_many_channels_are_fast(channels, shared_axes, is_fast):
    inputs = keras.Input((4, 4, channels))
    network = keras.Model(inputs, keras.layers.PReLU(shared_axes=shared_axes)(inputs))
    count = operations(fast_training_call(network), tf.ones((2, 4, 4, channels)))
    assert count["Relu"] == (0 if is_fast else 2)


def test_a_network_computes_the_same_and_all_its_other_calls_stay(tmp_path):
    network = sphereface10(input_shape=(16, 16, 3), embedding_size=8, seed=0)
    images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)), tf.float32)
    variables = list(map(tf_variable, network.trainable_variables))

    def gradients(call):
        @tf.function
        def compute(images):
            with tf.GradientTape() as tape:
                embeddings = call(images)
            return [embeddings, *tape.gradient(embeddings, variables)]

        return compute(images)

    before, config = network(images).numpy(), network.get_config()
    plain = gradients(training_call(network))
    fast = gradients(fast_training_call(network))
    again = gradients(recomputing(network, fast_training_call))
    for expected, *received in zip(plain, fast, again, strict=True):
        for value in received:
            scale = np.abs(expected).max()
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5 * scale)
    # Those of 64 channels and those with strides are not fast.
    assert operations(fast_training_call(network), images)["Conv2D"] == 10 - 6
    assert 10 - 6 < operations(recomputing(network, fast_training_call), images)["Conv2D"] <= 2 * 4
    assert operations(training_call(network), images)["Conv2D"] == 10
    np.testing.assert_array_equal(network(images), before)
    assert network.get_config() == config
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(images), before)


def test_without_xla_the_call_is_the_usual_one(monkeypatch):
    monkeypatch.setattr(module, "has_xla", lambda: False)
    inputs = keras.Input((8, 8, 128))
    layer = keras.layers.Conv2D(128, 3, padding="same")
    network = keras.Model(inputs, layer(inputs))
    assert operations(fast_training_call(network), tf.ones((2, 8, 8, 128)))["Conv2D"] == 1
