"""Operations of networks, counted from layers, against counts by hand."""

import keras
import pytest

from keras_sphereface.config.choices import NETWORKS
from keras_sphereface.models import forward_flops, keras_network, sphereface


def by_hand(blocks_per_stage, height=112, width=96, embedding_size=512):
    """Operations and weights of a SphereFace network, from the table of the paper."""
    flops, weights, inputs = 0, 0, 3
    for channels, blocks in zip((64, 128, 256, 512), blocks_per_stage, strict=True):
        height, width = -(-height // 2), -(-width // 2)  # stride 2, one pixel added on every side
        flops += 2 * height * width * channels * 9 * inputs
        weights += 9 * inputs * channels + 2 * channels  # with bias, and the slopes of PReLU
        flops += blocks * 2 * (2 * height * width * channels * 9 * channels)
        weights += blocks * 2 * (9 * channels * channels + channels)
        inputs = channels
    units = height * width * inputs
    return flops + 2 * units * embedding_size, weights + (units + 1) * embedding_size


@pytest.mark.parametrize("depth", [20, 64])
def test_sphereface_networks_have_the_operations_and_weights_of_the_paper(depth):
    network = sphereface(depth)
    blocks = NETWORKS[f"sphereface{depth}"].blocks_per_stage
    assert (forward_flops(network), network.count_params()) == by_hand(blocks)


def test_known_numbers():
    # 3.5 and 12.2 GFLOP.
    assert by_hand((1, 2, 4, 1)) == (3_499_474_944, 22_666_944)
    assert by_hand((3, 8, 16, 3)) == (12_219_432_960, 48_186_816)


def test_other_sizes_of_image_and_embedding():
    small = sphereface(4, input_shape=(28, 24, 3), embedding_size=8)
    assert forward_flops(small) == by_hand((0, 0, 0, 0), 28, 24, 8)[0]


def test_depthwise_strided_and_nested_layers_are_counted():
    body = keras.Sequential(
        [
            keras.Input((9, 7, 4)),
            keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(6, (3, 1), strides=(2, 3), padding="same"),
            keras.layers.Flatten(),
        ]
    )
    outer = keras.Sequential([keras.Input((9, 7, 4)), body, keras.layers.Dense(5)])
    depthwise = 2 * (9 * 7) * (4 * 2) * 9
    convolution = 2 * (5 * 3) * 6 * (3 * 1 * 8)
    assert forward_flops(outer) == depthwise + convolution + 2 * (5 * 3 * 6) * 5


@pytest.mark.slow
def test_mobilenet_has_the_operations_of_its_paper():
    # Table 4 of Sandler et al., CVPR 2018: 300 million multiplications and additions at 224 x 224.
    network = keras_network("MobileNetV2", (224, 224, 3), embedding_size=1000)
    assert forward_flops(network) / 2 == pytest.approx(300e6, rel=0.01)


def test_what_is_not_counted_is_refused():
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Conv2DTranspose(4, 3)(image))
    with pytest.raises(ValueError, match=r"the layer 'conv2d_transpose.*Conv2DTranspose"):
        forward_flops(network)
    unknown = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="images of one size"):
        forward_flops(keras.Model(unknown, keras.layers.Conv2D(4, 3)(unknown)))
