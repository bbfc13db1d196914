"""Near duplicates: the hash is that of ImageHash, and the search misses few pairs."""

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_sphereface.data import near_duplicates
from keras_sphereface.data.near_duplicates import (
    HASH_BYTES,
    MAX_DISTANCE,
    connected_groups,
    face_hashes,
    near_pairs,
)


def distances(hashes):
    bits = np.unpackbits(hashes, axis=1).astype(np.int64)
    return (bits[:, None] != bits[None]).sum(axis=2)


def with_flips(rng, hashes, count):
    bits = np.unpackbits(hashes, axis=1)
    for row in bits:
        row[rng.choice(row.size, count, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def test_hashes_are_those_of_the_library_one_by_one():
    imagehash = pytest.importorskip("imagehash")
    faces = np.random.default_rng(0).integers(0, 256, (70, 28, 24, 3), dtype=np.uint8)
    hashes = face_hashes(faces)
    assert hashes.shape == (70, HASH_BYTES)
    for index in (0, 7, 8, 63, 64, 69):
        gray = cv2.cvtColor(faces[index], cv2.COLOR_RGB2GRAY)
        reduced = cv2.resize(gray, (17, 16), interpolation=cv2.INTER_AREA)
        expected = imagehash.dhash(Image.fromarray(reduced), hash_size=16)
        assert np.array_equal(np.unpackbits(hashes[index]), expected.hash.ravel())


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(near_duplicates, "is_imagehash_installed", lambda: False)
    near_duplicates._imagehash.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'keras-sphereface\[duplicates\]'"):
        face_hashes(np.zeros((1, 28, 24, 3), np.uint8))


@pytest.mark.parametrize("flips", [0, 1, 6, 10])
def test_near_pairs_are_those_of_a_comparison_of_all(flips):
    rng = np.random.default_rng(flips)
    hashes = rng.integers(0, 256, (60, HASH_BYTES), dtype=np.uint8)
    hashes = np.concatenate([hashes, with_flips(rng, hashes[:25], flips)])
    expected = np.argwhere(np.triu(distances(hashes) <= MAX_DISTANCE, k=1))
    np.testing.assert_array_equal(near_pairs(hashes), expected)


def test_at_the_largest_distance_nearly_all_pairs_are_found():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (2000, HASH_BYTES), dtype=np.uint8)
    far = with_flips(rng, hashes, MAX_DISTANCE + 1)
    assert len(near_pairs(np.concatenate([hashes, far]))) == 0
    near = with_flips(rng, hashes, MAX_DISTANCE)
    assert len(near_pairs(np.concatenate([hashes, near]))) >= 0.98 * len(hashes)


def test_of_equal_hashes_each_makes_a_pair_with_the_first():
    hashes = np.zeros((5, HASH_BYTES), np.uint8)
    hashes[1] = 0xAA
    assert near_pairs(hashes).tolist() == [[0, 2], [0, 3], [0, 4]]
    assert near_pairs(hashes[:1]).shape == (0, 2)
    assert near_pairs(hashes[:0]).shape == (0, 2)


def test_groups_are_what_pairs_connect():
    pairs = np.array([[4, 9], [0, 7], [7, 8], [1, 4], [2, 3]])
    assert connected_groups(pairs) == [[0, 7, 8], [1, 4, 9], [2, 3]]
    assert connected_groups(np.empty((0, 2), np.int64)) == []
