import re

import keras
import numpy as np
import pytest

from keras_sphereface import models
from keras_sphereface.config.choices import NETWORKS
from keras_sphereface.models.sphereface import sphereface, sphereface4, sphereface10

# Counted by hand from the table of the paper: weights of the convolutions, biases of the four
# stride-2 convolutions and of FC1, and one PReLU slope a channel after each convolution.
PARAMETERS = {4: 12_562_496, 10: 15_217_984, 20: 22_666_944, 36: 32_771_392, 64: 48_186_816}


def parameters_by_hand(depth):
    total, channels_in = 0, 3
    stages = zip((64, 128, 256, 512), NETWORKS[f"sphereface{depth}"].blocks_per_stage, strict=True)
    for channels, blocks in stages:
        total += 9 * channels_in * channels + channels + channels
        total += blocks * 2 * (9 * channels**2 + channels)
        channels_in = channels
    return total + 7 * 6 * 512 * 512 + 512


@pytest.mark.parametrize(
    "depth", [4, 10, *(pytest.param(d, marks=pytest.mark.slow) for d in (20, 36, 64))]
)
def test_parameters_and_depth_are_those_of_the_paper(depth):
    model = getattr(models, f"sphereface{depth}")()
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == depth
    assert model.count_params() == parameters_by_hand(depth) == PARAMETERS[depth]
    assert model.output_shape == (None, 512)
    assert model.get_layer("flatten").output.shape[1:] == (7 * 6 * 512,)


def test_any_image_size_and_embedding_size_work():
    model = sphereface4(input_shape=(50, 61, 1), embedding_size=7, width=0.1)
    assert model(np.zeros((2, 50, 61, 1), np.float32)).shape == (2, 7)


def test_start_values_are_those_of_the_reference_implementation():
    model = sphereface10(seed=0)
    stride_2 = model.get_layer("conv3_1").get_weights()[0]
    bound = np.sqrt(3 / (9 * 128))
    assert 0.99 * bound < np.abs(stride_2).max() <= bound
    residual = model.get_layer("conv3_2").get_weights()
    assert len(residual) == 1
    assert residual[0].std() == pytest.approx(0.01, rel=0.01)
    assert set(np.unique(model.get_layer("relu3_2").get_weights()[0])) == {0.25}
    assert not model.get_layer("fc1").get_weights()[1].any()


def test_the_same_seed_gives_the_same_network_and_layers_differ():
    first, second, other = (sphereface10(width=0.1, seed=s) for s in (1, 1, 2))
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    conv = [m.get_layer("conv3_2").get_weights()[0] for m in (first, other)]
    assert np.any(conv[0] != conv[1])
    assert np.any(conv[0] != first.get_layer("conv3_3").get_weights()[0])


def test_stride_2_convolutions_pad_one_on_every_side():
    model = sphereface4(input_shape=(4, 4, 3), width=0.1)
    assert model.get_layer("conv1_1_pad").output.shape[1:3] == (6, 6)


def test_batch_norm_stands_between_each_convolution_and_its_prelu():
    plain, normalized = (sphereface10(width=0.1, batch_norm=b, seed=0) for b in (False, True))
    layers = {layer.name: layer for layer in normalized.layers}
    convolutions = [name for name in layers if re.fullmatch(r"conv\d_\d+", name)]
    assert len(convolutions) == 10
    for name in convolutions:
        after = list(layers)[list(layers).index(name) + 1 :][:2]
        assert after == [name.replace("conv", "bn"), name.replace("conv", "relu")]
        assert not layers[name].use_bias
        np.testing.assert_array_equal(
            layers[name].get_weights()[0], plain.get_layer(name).get_weights()[0]
        )
    # Four numbers a channel in place of the biases of the four stride-2 convolutions.
    channels = [layers[name].filters for name in convolutions]
    biases = sum(layers[f"conv{stage}_1"].filters for stage in (1, 2, 3, 4))
    assert normalized.count_params() - plain.count_params() == 4 * sum(channels) - biases


def test_batch_norm_uses_the_batch_in_training_and_its_averages_later():
    network = sphereface4(input_shape=(16, 16, 3), width=0.1, batch_norm=True, seed=0)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype("float32")
    trained = np.asarray(network(images, training=True))
    for _ in range(200):
        network(images, training=True)
    np.testing.assert_allclose(network(images, training=False), trained, atol=1e-3)
    # Another brightness of the whole batch is normalized away at the first layer.
    darker = np.asarray(network(images * 0.5, training=True))
    np.testing.assert_allclose(darker, trained, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "arguments",
    [
        {"depth": 18},
        {"depth": 4, "width": 0.0},
        {"depth": 4, "embedding_size": 0},
        {"depth": 4, "input_shape": (112, 96)},
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="Received: "):
        sphereface(**arguments)
