"""The stages of networks: told by the size of the maps, frozen, held, and slowed."""

import keras
import numpy as np
import pytest

from keras_sphereface.models import (
    EmbeddingNetwork,
    InputContract,
    freeze_stages,
    hold_batch_norm,
    keras_network,
    network_stages,
    rates_by_stage,
    sphereface,
)


def names(stages):
    return [[layer.name for layer in stage] for stage in stages]


@pytest.mark.parametrize("depth", [4, 20])
def test_the_stages_of_a_sphereface_network_are_those_of_the_paper(depth):
    stages = names(network_stages(sphereface(depth, width=0.05)))
    assert len(stages) == 5
    for number, stage in enumerate(stages[:4], start=1):
        assert all(name[:5] in (f"conv{number}", f"relu{number}") for name in stage)
    assert stages[4] == ["fc1"]


def with_branch():
    """Two stages; in the first one, maps of one pixel scale the channels."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="a")(image)
    s = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = keras.layers.Conv2D(4, 1, name="squeeze")(s)
    x = keras.layers.Multiply()([x, s])
    x = keras.layers.Conv2D(4, 3, padding="same", name="b")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(4, 3, strides=2, name="c")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(5, name="embedding")(x)
    return keras.Model(image, x)


def test_small_maps_beside_large_ones_are_of_their_stage():
    expected = [["a", "squeeze", "b", "norm"], ["c"], ["embedding"]]
    assert names(network_stages(with_branch())) == expected


def test_stages_reach_into_models_within_models():
    body = with_branch()
    outer = keras.Sequential([keras.Input((8, 8, 3)), body, keras.layers.Dense(2, name="last")])
    wrapped = EmbeddingNetwork(outer, InputContract((8, 8), input_range="raw"), 2)
    assert names(network_stages(wrapped))[2] == ["embedding", "last"]


def test_frozen_stages_keep_their_weights_and_averages():
    network = with_branch()
    frozen = freeze_stages(network, 1)
    assert [layer.name for layer in frozen] == ["a", "squeeze", "b", "norm"]
    assert freeze_stages(network, 1) == []  # they are frozen already
    before = [weight.numpy() for weight in network.weights]
    network.compile("sgd", "mse")
    images = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    network.fit(images, np.ones((8, 5)), verbose=0)
    after = [weight.numpy() for weight in network.weights]
    changed = [not np.array_equal(a, b) for a, b in zip(after, before, strict=True)]
    count = sum(len(layer.weights) for layer in frozen)
    assert changed == [False] * count + [True] * (len(changed) - count)


def test_held_batch_norm_does_not_move():
    network = with_branch()
    (norm,) = hold_batch_norm(network)
    images = np.random.default_rng(0).normal(3.0, size=(8, 8, 8, 3)).astype("float32")
    network(images, training=True)
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(4))
    assert not norm.trainable_weights


@pytest.mark.parametrize("number", [-1, 3])
def test_some_stage_must_be_left_to_train(number):
    with pytest.raises(ValueError, match=rf"from 0 to 2.*Received: freeze_stages={number}"):
        freeze_stages(with_branch(), number)


def test_rates_fall_from_stage_to_stage():
    network = with_branch()
    rates = rates_by_stage(network, 0.5)
    of_layer = {
        layer.name: rates[id(layer.kernel)]
        for layer in network.layers
        if layer.weights and layer.name != "norm"
    }
    assert of_layer == {"a": 0.25, "squeeze": 0.25, "b": 0.25, "c": 0.5, "embedding": 1.0}
    assert rates_by_stage(network, 1.0) == {}


class Hidden(keras.Model):
    """A network that shows no layers."""

    def call(self, images):
        return images[:, 0, 0]


def test_a_network_without_layers_has_no_stages():
    with pytest.raises(ValueError, match=r"functional or a Sequential model\. Received: hidden"):
        network_stages(Hidden(name="hidden"))


@pytest.mark.slow
def test_networks_of_keras_have_stages():
    network = keras_network("MobileNetV2", (64, 64, 3), embedding_size=8)
    assert len(network_stages(network)) == 6
    assert len(hold_batch_norm(network)) == 52
