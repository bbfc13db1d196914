"""Embeddings by key: computed in batches, kept in files, averaged to templates."""

import io
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sphereface.evaluation import embeddings
from keras_sphereface.evaluation.embeddings import Embeddings
from tests.helpers.numbered_faces import FaceLoader, keys_to


def both_views(images):
    """(n, 4): number and side of the left pixel, and of the mirror image's."""
    return np.concatenate([images[:, 0, 0, :2], images[:, 0, 1, :2]], axis=1).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 99])
def test_every_image_is_embedded_once_in_batches(batch_size):
    sizes, load = [], FaceLoader({"k2", "k9"})

    def counted(images):
        sizes.append(len(images))
        return both_views(images)

    embedded = embeddings.embed_faces(keys_to(12), load, counted, batch_size)
    kept = [key for key in keys_to(12) if key not in load.missing]
    assert embedded.keys == kept
    numbers = [int(key[1:]) for key in kept]
    np.testing.assert_array_equal(embedded.views[:, 0], [[n, 1] for n in numbers])
    np.testing.assert_array_equal(embedded.views[:, 1], [[n, 2] for n in numbers])
    np.testing.assert_array_equal(embedded.features, [[n, 1, n, 2] for n in numbers])
    assert embedded.missing == {"k2": "no k2", "k9": "no k9"}
    assert sorted(load.loaded) == sorted(keys_to(12))
    # Missing faces make no batch smaller; the last holds the remaining ones.
    full, remaining = divmod(10, batch_size)
    assert sizes == [batch_size] * full + [remaining] * bool(remaining)


def test_all_faces_missing_is_no_embedding():
    embedded = embeddings.embed_faces(keys_to(3), FaceLoader(keys_to(3)), both_views, 2)
    assert (embedded.keys, len(embedded.views)) == ([], 0)
    assert list(embedded.missing) == keys_to(3)
    means = embeddings.template_embeddings(embedded, {"T": [("k1", "")]})
    assert means.missing == {"T": "none of its images"}


def test_the_bar_counts_missing_faces_too(monkeypatch):
    bars = []

    def recorded(**settings):
        bars.append(original(**settings))
        return bars[0]

    original = embeddings.progress_bar
    monkeypatch.setattr(embeddings, "progress_bar", recorded)
    embeddings.embed_faces(keys_to(7), FaceLoader({"k1", "k3", "k7"}), both_views, 2)
    assert (bars[0].total, bars[0].n) == (7, 7)


@pytest.mark.parametrize(
    ("value", "received"), [(np.nan, "nan or infinity"), (-np.inf, "nan or infinity"), (0, "zero")]
)
@pytest.mark.parametrize("view", [0, 1])
def test_an_embedding_without_direction_is_an_error_that_names_its_image(value, received, view):
    def damaged(images):
        views = both_views(images)
        views[images[:, 0, 0, 0] > 5, 2 * view : 2 * view + 2] = value
        return views

    with pytest.raises(ValueError, match=f"Received: {received} for k7, the first of"):
        embeddings.embed_faces(keys_to(9), FaceLoader({"k6"}), damaged, 2)


def draw_embeddings(count, num_views=2, dtype=np.float32, seed=0):
    views = np.random.default_rng(seed).normal(size=(count, num_views, 3)).astype(dtype)
    return Embeddings(keys_to(count), views, {"x": "no such image"})


def test_rows_are_those_of_the_keys():
    assert draw_embeddings(4).rows(["k3", "k1", "k3"]).tolist() == [2, 0, 2]
    assert draw_embeddings(4).rows([]).dtype == np.int64
    with pytest.raises(KeyError, match="x"):
        draw_embeddings(4).rows(["x"])


def test_select_keeps_the_order_of_keys_and_the_reasons_of_missing_ones():
    whole = draw_embeddings(4)
    chosen = whole.select(["k4", "x", "k1", "y"])
    assert chosen.keys == ["k4", "k1"]
    np.testing.assert_array_equal(chosen.views, [whole.views[3], whole.views[0]])
    assert chosen.missing == {"x": "no such image", "y": "no embedding"}
    nothing = whole.select(["y"])
    assert nothing.keys == []
    assert nothing.views.shape == (0, 2, 3)


def test_merged_embeddings_have_the_keys_of_both():
    views = np.ones((2, 2, 3), np.float32)
    first = Embeddings(["a", "b"], views, {"c": "why", "d": "no landmarks"})
    second = Embeddings(["c"], 2 * views[:1], {"d": "cannot be read", "a": "?"})
    both = first.merge(second)
    assert both.keys == ["a", "b", "c"]
    np.testing.assert_array_equal(both.views[:, 0, 0], [1, 1, 2])
    assert both.missing == {"d": "cannot be read"}


def test_embeddings_of_no_face_can_be_merged():
    # Of unknown size: no face was ever embedded.
    nothing = Embeddings([], np.zeros((0, 2, 0), np.float32), {"x": "no", "k1": "no"})
    whole = draw_embeddings(2)._replace(missing={})
    for both in (whole.merge(nothing), nothing.merge(whole)):
        assert both.keys == whole.keys
        np.testing.assert_array_equal(both.views, whole.views)
        assert both.missing == {"x": "no"}
    neither = nothing.merge(nothing)
    assert (neither.keys, len(neither.views)) == ([], 0)
    assert neither.missing == nothing.missing


def test_templates_are_means_over_their_media():
    views = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3) ** 2
    image_embeddings = Embeddings(keys_to(5), views, {"gone": "no such image"})
    images = {
        "frames": [("k1", "v"), ("k2", "v"), ("k3", "p")],
        "again": [("k3", "p"), ("gone", "q")],  # an image may be in several
        "empty": [("gone", "v"), ("away", "v")],
        "none": [],
    }
    means = embeddings.template_embeddings(image_embeddings, images)
    assert means.missing == dict.fromkeys(["empty", "none"], "none of its images")
    assert sorted(means.keys) == ["again", "frames"]
    assert all(type(key) is str for key in means.keys)
    mean = dict(zip(means.keys, means.views, strict=True))
    np.testing.assert_array_equal(mean["again"], views[2])
    np.testing.assert_allclose(mean["frames"], (views[0] + views[1]) / 4 + views[2] / 2)


def test_templates_of_missing_images_only_keep_the_shape_of_embeddings():
    means = embeddings.template_embeddings(draw_embeddings(2), {"T": [("x", "")]})
    assert means.views.shape == (0, 2, 3)
    assert means.missing == {"T": "none of its images"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("num_views", [1, 2])
def test_saved_embeddings_are_loaded_as_they_were(tmp_path, num_views, dtype):
    keys = ["Ærø/Ærø 0001.jpg", "王菲/王菲_0001.jpg", "😀.png", "not utf-8 \udcff.png"]
    saved = draw_embeddings(4, num_views, dtype)._replace(keys=keys)
    embeddings.save_embeddings(saved, tmp_path / "some.npz")
    loaded = embeddings.load_embeddings(str(tmp_path / "some.npz"))
    assert loaded.keys == keys
    assert loaded.missing == {}
    assert loaded.views.dtype == dtype
    np.testing.assert_array_equal(loaded.views, saved.views)
    assert [path.name for path in tmp_path.iterdir()] == ["some.npz"]


def test_the_file_of_another_system_is_loaded(tmp_path):
    arrays = {"keys": np.array(["b", "a"]), "embeddings": np.eye(2, 5), "notes": np.arange(3)}
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    loaded = embeddings.load_embeddings(tmp_path / "other.npz")
    assert loaded.keys == ["b", "a"]
    np.testing.assert_array_equal(loaded.views, np.eye(2, 5)[:, None])


def test_no_embedding_is_saved_and_loaded(tmp_path):
    embeddings.save_embeddings(draw_embeddings(2).select([]), tmp_path / "none.npz")
    assert embeddings.load_embeddings(tmp_path / "none.npz").keys == []


KEYS, ROWS = np.array(["a", "b"]), np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"keys": KEYS}, r"Received: \{'keys': '<U1 \(2,\)'\}"),
        ({"embeddings": ROWS}, r"Received: \{'embeddings': 'float32 \(2, 3\)'\}"),
        ({}, r"Received: \{\}"),
        ({"keys": KEYS.astype("S"), "embeddings": ROWS}, r"'keys': '\|S1 \(2,\)'"),
        ({"keys": np.arange(2), "embeddings": ROWS}, r"'keys': 'int64 \(2,\)'"),
        ({"keys": KEYS[:, None], "embeddings": ROWS}, r"'keys': '<U1 \(2, 1\)'"),
        ({"keys": KEYS[0], "embeddings": ROWS}, r"'keys': '<U1 \(\)'"),
        ({"keys": KEYS[:1], "embeddings": ROWS}, r"'keys': '<U1 \(1,\)'"),
        ({"keys": KEYS, "embeddings": ROWS[0]}, r"'embeddings': 'float32 \(3,\)'"),
        ({"keys": KEYS, "embeddings": ROWS[None]}, r"'embeddings': 'float32 \(1, 2, 3\)'"),
        ({"keys": KEYS, "embeddings": ROWS.astype(int)}, "of floats .*'embeddings': 'int64"),
        ({"keys": KEYS, "embeddings": ROWS + 1j}, "'embeddings': 'complex64"),
        ({"keys": KEYS, "embeddings": ROWS, "mirrored": ROWS[:1]}, r"'mirrored': 'float32 \(1, 3"),
        ({"keys": KEYS, "embeddings": ROWS, "mirrored": ROWS[:, :2]}, r"'mirrored': .*\(2, 2\)"),
        ({"keys": KEYS, "embeddings": ROWS, "mirrored": ROWS.astype(int)}, "'mirrored': 'int64"),
        ({"keys": KEYS[[0, 0]], "embeddings": ROWS}, "1 different keys"),
        ({"keys": KEYS.astype(object), "embeddings": ROWS}, "Object arrays cannot be loaded"),
        ({"keys": KEYS, "embeddings": ROWS.astype(object)}, "Object arrays cannot be loaded"),
        ({"keys": KEYS, "embeddings": ROWS * [[1], [0]]}, "zero for b"),
        ({"keys": KEYS, "embeddings": ROWS, "mirrored": ROWS * np.nan}, "nan or infinity for a"),
        ({"keys": KEYS, "embeddings": ROWS[:, :0]}, "zero for a"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    path = re.escape(str(tmp_path / "bad.npz"))
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        embeddings.load_embeddings(tmp_path / "bad.npz")


class Hostile:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_refused_and_not_run(tmp_path):
    target = tmp_path / "harm"
    content = np.empty(1, object)
    content[0] = Hostile(target)
    np.savez(tmp_path / "bad.npz", keys=KEYS, embeddings=ROWS, more=content)
    with pytest.raises(ValueError, match=r"bad\.npz must be an \.npz file"):
        embeddings.load_embeddings(tmp_path / "bad.npz")
    assert not target.exists()


def encoded(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


WHOLE = encoded(keys=KEYS, embeddings=ROWS, mirrored=-ROWS)


def one_array():
    """The bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, ROWS)
    return stream.getvalue()


def header_of(shape):
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "another kind"),
        (b"keys\tembeddings\n", "another kind"),
        (one_array(), "another kind"),
        (WHOLE[: len(WHOLE) // 2], "another kind"),
        (archive(keys="text", embeddings="text"), r"Received: \{"),
        (archive(**{"keys.npy": one_array()[:50]}), "Received: "),
        (archive(**{"keys.npy": header_of((10**15, 3))}), "Unable to allocate"),
    ],
    ids=["empty", "text", "npy", "truncated", "no arrays", "truncated array", "too large"],
)
def test_another_kind_of_file_is_refused(tmp_path, content, message):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.npz must be an .npz file.*{message}"):
        embeddings.load_embeddings(tmp_path / "bad.npz")


def test_an_absent_file_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        embeddings.load_embeddings(tmp_path / "absent.npz")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # zipfile and NumPy warn of some damage
@settings(max_examples=300)
@given(st.data())
def test_damage_gives_embeddings_or_a_value_error_that_names_the_file(tmp_path_factory, data):
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    try:
        loaded = embeddings.load_embeddings(path)
    except ValueError as error:
        message = str(error)
    else:
        message = f"{path} holds {len(loaded.keys)}"
        assert loaded.views.shape[0] == len(loaded.keys)
    assert message.startswith(str(path))
