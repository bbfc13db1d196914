"""A linear map folded into a SavedModel."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.export import export_projected, open_network, to_tflite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mapped(savedmodel, tmp_path_factory):
    """The folder of the mapped network, with its kernel (8, 5) and bias."""
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(8, 5)), rng.normal(size=5)
    folder = tmp_path_factory.mktemp("mapped") / "export"
    return export_projected(savedmodel, folder, kernel, bias), kernel, bias


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (3, 112, 96, 3), np.uint8)


def test_both_signatures_map_each_view(mapped, savedmodel, images):
    folder, kernel, bias = mapped
    network, before = open_network(folder), open_network(savedmodel)
    assert network.embedding_size == 5
    np.testing.assert_allclose(
        network(images), before(images) @ kernel + bias, rtol=1e-4, atol=1e-5
    )
    joined = tf.saved_model.load(str(folder)).signatures["embed"](images=images)["embeddings"]
    views = before.both_views(images).reshape(3, 2, 8) @ kernel + bias
    np.testing.assert_allclose(joined.numpy(), views.reshape(3, 10), rtol=1e-4, atol=1e-5)


def test_the_export_states_what_it_takes(mapped, savedmodel):
    before, after = (
        json.loads((folder / "assets.extra" / "network.json").read_text())
        for folder in (savedmodel, mapped[0])
    )
    assert after == {**before, "embedding_size": 5}


def test_it_is_an_export_as_any_other(mapped, images, tmp_path):
    folder = mapped[0]
    to_tflite(folder, tmp_path / "model.tflite")
    lite = open_network(tmp_path / "model.tflite")
    np.testing.assert_allclose(lite(images), open_network(folder)(images), rtol=1e-3, atol=1e-4)
    again = export_projected(folder, tmp_path / "again", np.eye(5)[:, :2], np.zeros(2))
    np.testing.assert_allclose(
        open_network(again)(images), open_network(folder)(images)[:, :2], rtol=1e-5
    )


def test_shapes_that_do_not_fit_are_refused(savedmodel, tmp_path):
    with pytest.raises(ValueError, match=r"\(D, K\) and `bias` \(K,\) .* Received: \(7, 2\)"):
        export_projected(savedmodel, tmp_path / "new", np.ones((7, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="a folder of its own"):
        export_projected(savedmodel, savedmodel, np.ones((8, 2)), np.zeros(2))
    assert not (tmp_path / "new").exists()
