"""An imported network embeds as the published one does: held to a forward pass in NumPy."""

import keras
import numpy as np
import pytest

from keras_sphereface.export import load_backbone
from keras_sphereface.export.weights import import_weights
from tests.helpers import weights_files
from tests.helpers.weights_files import caffemodel, embed_as_caffe, random_layers, state_dict

IMAGES = np.random.default_rng(1).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
SCALED = ((IMAGES.astype(np.float64) - 127.5) / 128).astype(np.float32)


def write(path, layers):
    """A file of the form that the name of the path asks for."""
    if path.suffix == ".caffemodel":
        path.write_bytes(caffemodel(layers, path.stem))
        return path
    writer = {
        "zip": weights_files.write_torch_zip,
        "legacy": weights_files.write_torch_legacy,
    }[path.stem]
    return writer(path, state_dict(layers))


def check_embeddings(network, expected, images=SCALED):
    embeddings = np.asarray(network(images))
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["packed.caffemodel", "old.caffemodel", "v1.caffemodel", "zip.pth", "legacy.pth"]
)
def test_an_imported_network_embeds_as_the_published_one(tmp_path, name):
    layers = random_layers()
    head = {"fc6": [np.ones((7, 9), np.float32)]}
    network = import_weights(write(tmp_path / name, {**layers, **head}))
    expected = embed_as_caffe(layers, IMAGES)
    assert np.ptp(expected, axis=0).min() > 0.1, "one embedding for all would prove nothing"
    check_embeddings(network, expected)
    assert network.name == "sphereface20"


def test_without_biases_in_the_blocks_it_is_the_network_of_the_paper(tmp_path):
    layers = random_layers((0, 0, 1, 0), residual_bias=False)
    network = import_weights(write(tmp_path / "packed.caffemodel", layers))
    check_embeddings(network, embed_as_caffe(layers, IMAGES))
    assert not network.get_layer("conv3_2").use_bias
    assert network.get_layer("conv3_1").use_bias
    assert network.name == "sphereface_0_0_1_0"


def test_rgb_weights_and_112_x_112(tmp_path):
    layers = random_layers((0, 0, 0, 0), places=49)
    path = write(tmp_path / "packed.caffemodel", layers)
    images = np.random.default_rng(2).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    scaled = ((images.astype(np.float64) - 127.5) / 128).astype(np.float32)
    check_embeddings(import_weights(path), embed_as_caffe(layers, images), scaled)
    rgb = import_weights(path, color_order="rgb")
    check_embeddings(rgb, embed_as_caffe(layers, images[..., ::-1]), scaled)


def test_one_slope_may_be_shared_and_doubles_are_read(tmp_path):
    layers = random_layers((0, 0, 0, 0))
    layers["relu2_1"] = [np.float32(0.5).reshape(1)]
    network = import_weights(write(tmp_path / "doubles.caffemodel", layers))
    check_embeddings(network, embed_as_caffe(layers, IMAGES))


@pytest.mark.slow
def test_the_file_of_keras_is_a_network_of_this_package(tmp_path):
    layers = random_layers((0, 1, 0, 0))
    network = import_weights(write(tmp_path / "zip.pth", layers))
    network.save(tmp_path / "network.keras")
    check_embeddings(load_backbone(tmp_path / "network.keras"), embed_as_caffe(layers, IMAGES))
    assert isinstance(network, keras.Model)


def without(layers, name):
    return {key: arrays for key, arrays in layers.items() if key != name}


SMALL = random_layers((0, 0, 1, 0))
OTHERS = {
    "no layer relu1_1": without(SMALL, "relu1_1"),
    "no layer fc5": without(SMALL, "fc5"),
    "2 convolutions conv3_N, where one and two of each block": without(SMALL, "conv3_3"),
    "0 convolutions conv1_N": {"bn1": [np.ones(3, np.float32)]},
    "a layer 'bn1' besides them": {**SMALL, "bn1": [np.ones(3, np.float32)]},
    "kernels of shape (3, 3, 5, 5) in conv1_1": {
        **SMALL,
        "conv1_1": [np.ones((3, 3, 5, 5), np.float32)],
    },
    "2 biases for 3 channels in conv1_1": {
        **SMALL,
        "conv1_1": [SMALL["conv1_1"][0], np.ones(2, np.float32)],
    },
    "2 slopes for 3 channels in relu1_1": {**SMALL, "relu1_1": [np.ones(2, np.float32)]},
    "3 arrays in fc5": {**SMALL, "fc5": 3 * [np.ones(2, np.float32)]},
    "1 channels into conv1_1 after 3": {**SMALL, "conv1_1": [SMALL["conv1_1"][0][:, :1]]},
    "fc5 of shape (7, 251), which fits no image of 112 x 96 or 112 x 112": {
        **SMALL,
        "fc5": [SMALL["fc5"][0][:, 1:]],
    },
    "numbers that are not all finite in relu1_1": {
        **SMALL,
        "relu1_1": [np.float32([1, np.nan, 1])],
    },
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_network_is_refused(tmp_path, what):
    path = write(tmp_path / "packed.caffemodel", OTHERS[what])
    with pytest.raises(
        ValueError, match=r"must be those of a SphereFace network.* fc5\. Rec"
    ) as got:
        import_weights(path)
    assert what in str(got.value)


def test_other_color_orders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`color_order` must be one of bgr, rgb"):
        import_weights(tmp_path / "none", color_order="gbr")
