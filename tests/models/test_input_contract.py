"""Which pixels a network takes, found out from the network."""

import keras
import numpy as np
import pytest

from keras_sphereface.models.input_contract import input_contract, range_of_network
from tests.helpers.own_networks import chained

layers = keras.layers
SIZE = (28, 24, 3)


def beginning_with(*parts):
    pooled = [*parts, layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]
    return chained(keras.Input(SIZE), pooled)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([layers.Rescaling(1 / 255)], "raw"),
        ([layers.Rescaling(1 / 127.5, offset=-1)], "raw"),
        ([layers.Rescaling([1 / 60, 1 / 58, 1 / 57])], "raw"),
        ([layers.Rescaling(127.5, offset=127.5), layers.Rescaling(1 / 255)], "unit"),
        ([layers.Rescaling(0.5, offset=0.5)], "unit"),
        ([layers.Normalization(mean=[123.0] * 3, variance=[58.0**2] * 3)], "raw"),
        ([layers.Normalization(mean=[0.5] * 3, variance=[0.05] * 3)], "unit"),
        ([layers.Resizing(14, 12), layers.RandomFlip(), layers.Rescaling(1 / 255)], "raw"),
        ([layers.ZeroPadding2D(2)], "unit"),
        ([layers.BatchNormalization()], "unit"),
        ([], "unit"),
    ],
)
def test_the_first_layer_that_scales_decides(parts, expected):
    assert range_of_network(beginning_with(*parts)) == expected


def test_one_branch_that_divides_pixels_is_enough():
    image = keras.Input(SIZE)
    branches = [layers.Rescaling(1 / 255)(image), layers.Conv2D(3, 1)(image)]
    features = layers.GlobalAveragePooling2D()(layers.Concatenate()(branches))
    assert range_of_network(keras.Model(image, features)) == "raw"


def preprocess(module):
    return getattr(keras.applications, module).preprocess_input


@pytest.mark.parametrize(
    "part",
    [
        layers.Lambda(lambda images: images / 255),
        preprocess("resnet50"),
        preprocess("mobilenet_v2"),
    ],
    ids=["lambda", "resnet50", "mobilenet_v2"],
)
def test_where_a_function_comes_first_the_user_is_asked(part):
    network = beginning_with(part)
    with pytest.raises(ValueError, match=r"begins with .*, which may scale pixels.*--input-range"):
        input_contract(network)
    for given in ("raw", "unit"):
        assert input_contract(network, input_range=given).input_range == given


class Halves(layers.Layer):
    def call(self, images):
        return images / 2


class Convolves(layers.Layer):
    def __init__(self, scaling=None):
        super().__init__()
        self.scaling = scaling or layers.Identity()
        self.convolution = layers.Conv2D(2, 3)

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.built = True

    def call(self, images):
        return self.convolution(self.scaling(images))


def test_a_layer_of_the_user_is_asked_about_only_if_nothing_shows():
    with pytest.raises(ValueError, match="begins with halves"):
        range_of_network(beginning_with(Halves()))
    assert range_of_network(beginning_with(Convolves())) == "unit"
    assert range_of_network(beginning_with(Convolves(layers.Rescaling(1 / 255)))) == "raw"
    stating = Halves()
    stating.input_range = "raw"
    assert range_of_network(beginning_with(stating)) == "raw"


def test_integers_are_pixels():
    network = chained(keras.Input(SIZE, dtype="int32"), [layers.Rescaling(1.0), layers.Flatten()])
    contract = input_contract(network)
    assert (contract.dtype, contract.input_range) == ("int32", "raw")
    with pytest.raises(ValueError, match=r"integers from 0 to 255.*int32, input_range=unit"):
        input_contract(network, input_range="unit")
    for dtype in ("int8", "bool"):
        network = chained(keras.Input(SIZE, dtype=dtype), [layers.Flatten()])
        with pytest.raises(ValueError, match=f"Received: .* with {dtype}"):
            input_contract(network)


def test_a_range_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"`input_range` must be one of raw, unit. Received"):
        input_contract(beginning_with(), input_range="0..1")


@pytest.mark.parametrize("shape", [(3, 28, 24), (8,), (28, 24, 2)])
def test_what_takes_no_images_is_refused(shape):
    network = chained(keras.Input(shape), [layers.Flatten()])
    with pytest.raises(ValueError, match=r"must take images \(batch, height, width, channels\)"):
        input_contract(network)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MobileNetV2", "unit"),
        ("MobileNetV3Small", "raw"),
        *(
            pytest.param(name, expected, marks=pytest.mark.slow)
            for name, expected in {
                "EfficientNetB0": "raw",
                "EfficientNetV2B0": "raw",
                "ConvNeXtTiny": "raw",
                "ResNet50": "unit",
                "DenseNet121": "unit",
            }.items()
        ),
    ],
)
def test_networks_of_keras_have_the_range_of_their_documentation(name, expected):
    make = getattr(keras.applications, name)
    network = make(weights=None, include_top=False, input_shape=(64, 64, 3), pooling="avg")
    assert range_of_network(network) == expected
    assert np.prod(network.output_shape[1:]) > 100
