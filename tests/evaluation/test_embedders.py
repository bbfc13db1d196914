"""Systems under evaluation: networks, and saved embeddings."""

import numpy as np
import pytest

from keras_sphereface.evaluation import embedders, embeddings
from keras_sphereface.evaluation.faces import MissingFaceError
from keras_sphereface.models.sphereface import sphereface4

FACES = np.random.default_rng(0).integers(0, 256, (5, 112, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(savedmodel):
    return str(savedmodel)


@pytest.fixture
def saved(tmp_path):
    views = np.arange(1, 13, dtype=np.float32).reshape(2, 2, 3)
    embeddings.save_embeddings(embeddings.Embeddings(["a", "b"], views, {}), tmp_path / "other.npz")
    return str(tmp_path / "other.npz")


def load(key):
    if key == "x":
        raise MissingFaceError("no such image")
    return FACES[int(key)]


def test_a_network_embeds_faces(model):
    backbone = sphereface4(width=0.05, embedding_size=8, seed=0)
    (embedder,) = embedders.open_embedders(model, (), 2)
    assert embedder.name.endswith("/export")
    assert embedder.image_size == (112, 96)
    embedded = embedder.embed(["3", "x", "0", "1"], load)
    assert embedded.keys == ["3", "0", "1"]
    assert embedded.missing == {"x": "no such image"}
    floats = (FACES[[3, 0, 1]] - 127.5) / 128
    for view, pixels in enumerate((floats, floats[:, :, ::-1])):
        expected = backbone(pixels.astype(np.float32)).numpy()
        np.testing.assert_allclose(embedded.views[:, view], expected, atol=1e-4)


def test_the_time_of_an_image_is_the_median_of_the_batches_but_the_first(monkeypatch):
    clock = iter([0, 9, 10, 11, 20, 22, 30, 36])  # batches of 9, 1, 2 and 6 seconds
    monkeypatch.setattr(embedders.time, "perf_counter", lambda: float(next(clock)))
    timer = embedders.EmbeddingTimer(lambda images: np.ones((len(images), 16), np.float32))
    assert timer.runtime(16) is None
    timer(FACES[:4])
    assert timer.runtime(16).milliseconds_per_image == 9000 / 4
    for count in (4, 4, 3):
        timer(FACES[:count])
    runtime = timer.runtime(16)
    assert (runtime.num_images, runtime.batch_size) == (15, 4)
    assert runtime.milliseconds_per_image == 2000 / 4
    assert runtime.images_per_second == 2
    assert runtime.bytes_per_template == 64


@pytest.mark.slow
def test_the_error_of_a_network_without_images_names_the_flags(model):
    (embedder,) = embedders.open_embedders(model, (), 2)
    with pytest.raises(ValueError, match="export needs images: give `images` or `records`"):
        embedder.require_images(False)
    embedder.require_images(True)


def test_saved_embeddings_need_no_faces(saved):
    (embedder,) = embedders.open_embedders((), saved, 1)
    assert (embedder.name, embedder.image_size, embedder.runtime(8)) == ("other", None, None)
    embedded = embedder.embed(["b", "c"], None)
    assert embedded.keys == ["b"]
    assert embedded.missing == {"c": "no embedding"}
    np.testing.assert_array_equal(embedded.views, [[[7, 8, 9], [10, 11, 12]]])


def test_saved_embeddings_serve_keys_with_another_suffix(tmp_path):
    views = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
    names = ["/lfw/Ada/1.png", "/lfw/Ada/2.png", "/lfw/Bob/1.png"]
    embeddings.save_embeddings(embeddings.Embeddings(names, views, {}), tmp_path / "saved.npz")
    (embedder,) = embedders.open_embedders((), str(tmp_path / "saved.npz"))
    selected = embedder.embed(["Bob/1.jpg", "Ada/3.jpg", "Ada/1"], None)
    assert selected.keys == ["Bob/1.jpg", "Ada/1"]
    np.testing.assert_array_equal(selected.views, views[[2, 0]])
    assert selected.missing == {"Ada/3.jpg": "no embedding"}


def test_networks_come_before_saved_embeddings(model, saved):
    opened = embedders.open_embedders([model, model], (saved,), 1)
    assert [embedder.image_size for embedder in opened] == [(112, 96), (112, 96), None]


@pytest.mark.parametrize(
    ("value", "expected"), [("", []), ("a", ["a"]), ((), []), (("a", "b"), ["a", "b"])]
)
def test_several_takes_one_or_many_or_none(value, expected):
    assert embedders.as_list(value) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((), "", 1), ValueError, "`model` or `embeddings` must name .* Received: neither"),
        (("absent", (), 0), ValueError, "`batch_size` must be >= 1. Received: batch_size=0"),
        (("absent", (), 1), FileNotFoundError, "Received: absent, which does not exist"),
        (((), "absent.npz", 1), FileNotFoundError, "absent.npz"),
        (((), (__file__,), 1), ValueError, "test_embedders.py must be an .npz file"),
    ],
)
def test_unusable_files_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        embedders.open_embedders(*arguments)
