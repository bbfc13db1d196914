"""A SavedModel of a network, for programs without this package."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export.runtime import open_network
from keras_sphereface.export.saved_model import export_savedmodel
from keras_sphereface.heads import ASoftmax
from keras_sphereface.layers import FacePreprocessing
from keras_sphereface.models import embedding_network
from keras_sphereface.models.embedding_network import contract_of
from tests.conftest import OLD_FILES
from tests.helpers import own_networks
from tests.helpers.small_training import one_layer

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["keras_sphereface"] = None  # importing it would fail
import numpy as np, tensorflow as tf
folder, images = sys.argv[1:3]
loaded = tf.saved_model.load(folder)
for name in ("serving_default", "embed"):
    embeddings = loaded.signatures[name](images=tf.constant(np.load(images)))["embeddings"]
    np.save(f"{name}.npy", embeddings)
"""


def test_the_signatures_are_those_promised(savedmodel):
    loaded = tf.saved_model.load(str(savedmodel))
    for name, size in (("serving_default", 8), ("embed", 16)):
        signature = loaded.signatures[name]
        (spec,) = signature.structured_input_signature[1].values()
        assert (spec.name, spec.dtype) == ("images", tf.uint8)
        assert spec.shape.as_list() == [None, 112, 96, 3]
        output = signature.structured_outputs["embeddings"]
        assert (output.dtype, output.shape.as_list()) == (tf.float32, [None, size])


@pytest.mark.slow
def test_the_savedmodel_runs_in_a_process_without_the_package(
    savedmodel, images, both_views, tmp_path
):
    np.save(tmp_path / "images.npy", images)
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, str(savedmodel), "images.npy"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    one_view = np.load(tmp_path / "serving_default.npy")
    np.testing.assert_allclose(one_view, both_views[:, :8], atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "embed.npy"), both_views, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_images_is_embedded(savedmodel, images, both_views, count):
    embed = tf.saved_model.load(str(savedmodel)).signatures["embed"]
    embeddings = embed(images=tf.constant(images[:count]))["embeddings"]
    np.testing.assert_allclose(embeddings, both_views[:count], atol=1e-5)


def test_exporting_again_replaces_the_old_savedmodel(images, tmp_path):
    for seed in (0, 1):
        network = one_layer((112, 96, 3), 4, seed=seed)
        export_savedmodel(network, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    embeddings = loaded.signatures["serving_default"](images=tf.constant(images))
    expected = network(preprocessing.normalize(images))
    np.testing.assert_allclose(embeddings["embeddings"], expected, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(FileExistsError, match="hold a SavedModel"):
        export_savedmodel(network, tmp_path)


def test_a_savedmodel_of_the_first_version_gives_its_embeddings():
    expected = np.load(OLD_FILES / "expected.npz")
    network = open_network(OLD_FILES / "export")
    assert (network.image_size, network.embedding_size) == ((28, 24), 8)
    np.testing.assert_allclose(network.both_views(expected["pics"]), expected["embed"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", own_networks.KINDS)
def test_any_network_is_exported_with_what_it_takes(kind, tmp_path):
    model, size = kind((28, 24, 3), 8, seed=3), (28, 24)
    folder = export_savedmodel(model, tmp_path / "export", size)
    network = embedding_network(model, size)
    pixels = np.random.default_rng(1).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    mirrored = pixels[:, :, ::-1]
    views = [network(preprocessing.normalize(view), training=False) for view in (pixels, mirrored)]
    embed = tf.saved_model.load(str(folder)).signatures["embed"]
    embeddings = embed(images=tf.constant(pixels))["embeddings"]
    np.testing.assert_allclose(embeddings, np.concatenate(views, axis=1), rtol=1e-4, atol=1e-5)
    assert open_network(folder).image_size == size
    stated = json.loads((folder / "assets.extra" / "network.json").read_text())
    contract = contract_of(network)
    assert stated["image_size"] == list(size)
    assert [stated[name] for name in ("channels", "dtype", "input_range", "embedding_size")] == [
        *(contract.channels, contract.dtype, contract.input_range, 8)
    ]


def test_a_model_with_a_head_is_exported_without_it(images, tmp_path):
    network = one_layer((112, 96, 3), 4, seed=0)
    trained = keras.Sequential(
        [keras.Input((112, 96, 3), dtype="uint8"), FacePreprocessing(), network, ASoftmax(5)]
    )
    folder = export_savedmodel(trained, tmp_path / "export")
    expected = network(preprocessing.normalize(images))
    np.testing.assert_allclose(open_network(folder)(images), expected, atol=1e-5)


def test_a_range_that_is_given_counts(images, tmp_path):
    network = one_layer((112, 96, 3), 4, seed=0)
    folder = export_savedmodel(network, tmp_path / "export", input_range="raw")
    expected = network(images.astype(np.float32))
    np.testing.assert_allclose(open_network(folder)(images), expected, rtol=1e-4)


class AlwaysDrops(keras.layers.Layer):
    def call(self, features):
        return tf.nn.dropout(features, 0.5)


def test_a_network_whose_embeddings_are_random_is_refused(tmp_path):
    parts = [*own_networks.body(8, seed=0), AlwaysDrops()]
    network = own_networks.chained(keras.Input((28, 24, 3)), parts)
    with pytest.raises(ValueError, match=r"random numbers where it is not trained.*Received"):
        export_savedmodel(network, tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_a_network_of_one_embedding_is_exported_with_a_warning(tmp_path):
    network = own_networks.constant((28, 24, 3), 8, seed=0)
    with pytest.warns(UserWarning, match=r"equal embeddings. It takes 28 x 24 RGB, float32 in"):
        export_savedmodel(network, tmp_path / "export")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"must be a Keras model. Received: function"):
        export_savedmodel(one_layer, tmp_path / "export")
