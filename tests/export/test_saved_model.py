"""A SavedModel of a network, for programs without this package."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export.runtime import open_network
from keras_sphereface.export.saved_model import export_savedmodel
from tests.conftest import OLD_FILES
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
