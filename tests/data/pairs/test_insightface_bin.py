import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data.pairs import insightface_bin


def test_images_as_bytes_and_as_arrays_are_read(tmp_path):
    images = [b"one", np.frombuffer(b"two", np.uint8), b"three", np.frombuffer(b"4", np.uint8)]
    for protocol in (2, 4, 5):
        file = tmp_path / "set.bin"
        file.write_bytes(pickle.dumps((images, [True, np.False_]), protocol))
        read, is_same = insightface_bin.read_bin(file)
        assert read == [b"one", b"two", b"three", b"4"]
        np.testing.assert_array_equal(is_same, [True, False])


def test_a_pickle_of_an_old_numpy_is_read(tmp_path):
    content = pickle.dumps(([np.frombuffer(b"a", np.uint8)] * 2, [True]), 2)
    file = tmp_path / "set.bin"
    file.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert insightface_bin.read_bin(file)[0] == [b"a", b"a"]


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path):
    file, target = tmp_path / "set.bin", tmp_path / "harm"
    file.write_bytes(pickle.dumps(([Hostile(str(target))], [True])))
    with pytest.raises(ValueError, match="mkdir is not part of a verification set"):
        insightface_bin.read_bin(file)
    assert not target.exists()


@pytest.mark.parametrize(
    "content", [b"", b"garbage", pickle.dumps(3), pickle.dumps(([b"a"], [True]))]
)
def test_anything_else_is_refused(tmp_path, content):
    file = tmp_path / "set.bin"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="Received: "):
        insightface_bin.read_bin(file)


@given(st.data())
def test_damage_gives_images_or_a_value_error(tmp_path_factory, data):
    protocol = data.draw(st.sampled_from([2, 4, 5]))
    images = [b"one", np.frombuffer(b"two", np.uint8)] * 2
    content = bytearray(pickle.dumps((images, [True, False]), protocol))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("fuzz") / "set.bin"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read, is_same = insightface_bin.read_bin(file)
    except ValueError:
        return
    assert len(read) == 2 * len(is_same)
    assert all(isinstance(image, bytes) for image in read)


@given(st.binary(max_size=200))
def test_any_bytes_give_images_or_a_value_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("fuzz") / "set.bin"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="Received: "):
        insightface_bin.read_bin(file)


def test_what_is_written_is_read(tmp_path):
    images, is_same = [b"one", b"", b"three", b"4"], np.array([True, False])
    insightface_bin.write_bin(tmp_path / "set.bin", iter(images), is_same)
    read, matched = insightface_bin.read_bin(tmp_path / "set.bin")
    assert read == images
    np.testing.assert_array_equal(matched, is_same)
    # The form of the field: plain bytes and plain truth values.
    assert pickle.loads((tmp_path / "set.bin").read_bytes()) == (images, [True, False])


@pytest.mark.parametrize("count", [20, 27, 6000])
def test_pairs_of_a_set_are_neighbors_in_ten_folds(count):
    is_same = np.arange(count) % 2 == 0
    images = [str(number).encode() for number in range(2 * count)]
    pairs = insightface_bin.pairs_from_bin(images, is_same, "set.bin")
    assert (pairs.first[0], pairs.second[0]) == ("000000", "000001")
    assert pairs.first[-1] == f"{2 * count - 2:06d}"
    assert pairs.keys() == [f"{number:06d}" for number in range(2 * count)]
    np.testing.assert_array_equal(pairs.is_same, is_same)
    sizes = np.bincount(pairs.folds)[1:]
    assert len(sizes) == 10
    # As scikit-learn's KFold cuts, which InsightFace uses: the first are the larger ones.
    assert sizes.tolist() == [len(fold) for fold in np.array_split(is_same, 10)]
    assert (np.diff(pairs.folds) >= 0).all()


ORDERS = {
    "matched first": np.arange(200) < 100,
    "mismatched first": np.arange(200) >= 150,
    "blocks of fifty": np.arange(200) // 50 % 2 == 0,
    "one kind in the last fold": np.append(np.arange(180) % 2 == 0, np.ones(20, bool)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_pairs_of_any_order_are_cut_by_kind(order, capsys):
    is_same, name = ORDERS[order], f"{order}.bin"
    images = [str(number).encode() for number in range(400)]
    pairs = insightface_bin.pairs_from_bin(images, is_same, name)
    assert f"{name}: cut in their order" in capsys.readouterr().err
    for kind in (True, False):
        of_kind = pairs.folds[pairs.is_same == kind]
        assert set(np.bincount(of_kind)[1:]) == {len(of_kind) // 10}
        assert (np.diff(of_kind) >= 0).all()
    np.testing.assert_array_equal(pairs.is_same, is_same)
    insightface_bin.pairs_from_bin(images, is_same, name)
    assert not capsys.readouterr().err  # said once


def test_few_pairs_have_fewer_folds():
    pairs = insightface_bin.pairs_from_bin([b""] * 16, np.array([True, False] * 4), "few.bin")
    assert pairs.folds.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("kinds", [[], [True] * 20, [False] * 20])
def test_pairs_of_one_kind_are_refused(kinds):
    num_matched = sum(kinds)
    expected = f"^lfw.bin must hold .* Received: {num_matched} matched"
    with pytest.raises(ValueError, match=expected):
        insightface_bin.pairs_from_bin([b""] * 2 * len(kinds), np.array(kinds, bool), "lfw.bin")


def test_an_image_of_several_pairs_has_one_key():
    images = [b"a", b"b", b"b", b"a", b"c", b"c"]
    pairs = insightface_bin.pairs_from_bin(
        images * 2, np.array([True, False, True] * 2), "set.bin", 2
    )
    assert pairs.first == ["000000", "000001", "000004"] * 2
    assert pairs.second == ["000001", "000000", "000004"] * 2
    np.testing.assert_array_equal(pairs.folds, [1, 1, 1, 2, 2, 2])
