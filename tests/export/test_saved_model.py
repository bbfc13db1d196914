import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.export import saved_model
from keras_sphereface.models.sphereface import sphereface4

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["keras_sphereface"] = None  # importing it would fail
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1] + "/model")
images = tf.constant(np.load(sys.argv[1] + "/images.npy"))
for name in ("serving_default", "embed"):
    embeddings = loaded.signatures[name](images=images)["embeddings"]
    np.save(f"{sys.argv[1]}/{name}.npy", embeddings)
"""


@pytest.fixture
def network():
    return sphereface4(width=0.1, embedding_size=8, seed=0)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 112, 96, 3), dtype=np.uint8)


def test_the_signatures_are_those_promised(network, tmp_path):
    loaded = tf.saved_model.load(str(saved_model.export_savedmodel(network, tmp_path / "model")))
    for name, size in (("serving_default", 8), ("embed", 16)):
        signature = loaded.signatures[name]
        (spec,) = signature.structured_input_signature[1].values()
        assert (spec.name, spec.dtype) == ("images", tf.uint8)
        assert spec.shape.as_list() == [None, 112, 96, 3]
        output = signature.structured_outputs["embeddings"]
        assert (output.dtype, output.shape.as_list()) == (tf.float32, [None, size])


@pytest.mark.slow
def test_the_savedmodel_runs_in_a_process_without_the_package(network, pictures, tmp_path):
    saved_model.export_savedmodel(network, tmp_path / "model")
    np.save(tmp_path / "images.npy", pictures)
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    views = [network(preprocessing.normalize(view)) for view in (pictures, pictures[:, :, ::-1])]
    np.testing.assert_allclose(np.load(tmp_path / "serving_default.npy"), views[0], atol=1e-5)
    expected = np.concatenate(views, axis=1)
    np.testing.assert_allclose(np.load(tmp_path / "embed.npy"), expected, atol=1e-5)


def test_any_number_of_images(network, pictures, tmp_path):
    loaded = tf.saved_model.load(str(saved_model.export_savedmodel(network, tmp_path / "model")))
    for count in (1, 3):
        embeddings = loaded.signatures["embed"](images=tf.constant(pictures[:count]))
        assert embeddings["embeddings"].shape == (count, 16)


def test_exporting_again_replaces_the_old_model(network, pictures, tmp_path):
    saved_model.export_savedmodel(network, tmp_path / "model")
    other = keras.models.clone_model(network)
    saved_model.export_savedmodel(other, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    embeddings = loaded.signatures["serving_default"](images=tf.constant(pictures))
    expected = other(preprocessing.normalize(pictures))
    np.testing.assert_allclose(embeddings["embeddings"], expected, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(FileExistsError, match="hold a SavedModel"):
        saved_model.export_savedmodel(network, tmp_path)
