"""What is evaluated: networks, and saved embeddings."""

import numpy as np
import pytest

from keras_sphereface.evaluation import embedders, embeddings
from keras_sphereface.evaluation.face_pairs import MissingFaceError
from keras_sphereface.export import saved_model
from keras_sphereface.models.sphereface import sphereface4

FACES = np.random.default_rng(0).integers(0, 256, (5, 112, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def backbone():
    return sphereface4(width=0.1, embedding_size=6, seed=0)


@pytest.fixture(scope="module")
def model(backbone, tmp_path_factory):
    return str(saved_model.export_savedmodel(backbone, tmp_path_factory.mktemp("casia") / "export"))


@pytest.fixture
def saved(tmp_path):
    views = np.arange(1, 13, dtype=np.float32).reshape(2, 2, 3)
    embeddings.save(embeddings.Embeddings(["a", "b"], views, {}), tmp_path / "other.npz")
    return str(tmp_path / "other.npz")


def load(key):
    if key == "x":
        raise MissingFaceError("no such image")
    return FACES[int(key)]


def test_a_network_embeds_faces(model, backbone):
    (system,) = embedders.open_systems(model, (), 2)
    assert system.name.endswith("/export")
    assert system.image_size == (112, 96)
    found = system.embed(["3", "x", "0", "1"], load)
    assert found.keys == ["3", "0", "1"]
    assert found.missing == {"x": "no such image"}
    floats = (FACES[[3, 0, 1]] - 127.5) / 128
    for view, pixels in enumerate((floats, floats[:, :, ::-1])):
        expected = backbone(pixels.astype(np.float32)).numpy()
        np.testing.assert_allclose(found.views[:, view], expected, atol=1e-4)


def test_a_network_without_images_says_what_to_give(model):
    (system,) = embedders.open_systems(model, (), 2)
    with pytest.raises(ValueError, match="export needs images: give `images` or `records`"):
        embedders.check_images(system, False)
    embedders.check_images(system, True)


def test_saved_embeddings_need_no_faces(saved):
    (system,) = embedders.open_systems((), saved, 1)
    assert (system.name, system.image_size) == ("other", None)
    found = system.embed(["b", "c"], None)
    assert found.keys == ["b"]
    assert found.missing == {"c": "no embedding"}
    np.testing.assert_array_equal(found.views, [[[7, 8, 9], [10, 11, 12]]])


def test_networks_come_before_saved_embeddings(model, saved):
    opened = embedders.open_systems([model, model], (saved,), 1)
    assert [system.image_size for system in opened] == [(112, 96), (112, 96), None]


@pytest.mark.parametrize(
    ("value", "expected"), [("", []), ("a", ["a"]), ((), []), (("a", "b"), ["a", "b"])]
)
def test_several_takes_one_or_many_or_none(value, expected):
    assert embedders.several(value) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((), "", 1), ValueError, "`model` or `embeddings` must name .* Received: neither"),
        (("absent", (), 0), ValueError, "`batch_size` must be >= 1. Received: batch_size=0"),
        (("absent", (), 1), FileNotFoundError, "Received: absent, which is absent"),
        (((), "absent.npz", 1), FileNotFoundError, "absent.npz"),
        (((), (__file__,), 1), ValueError, "test_embedders.py must be an .npz file"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        embedders.open_systems(*arguments)
