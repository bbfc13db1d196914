"""Near duplicates among faces, by a perceptual hash of the optional package `ImageHash`.

The hash is the difference hash ("dHash") of 16 x 16 bits: whether a pixel of the reduced image is
brighter than its left neighbor. Of 8,086 aligned faces of LFW, 99 % encoded anew at quality 60, of
half the resolution or brighter by 15 % are within 15 bits of the first; of their 33 million pairs
6 are within `MAX_DISTANCE`, all of them one photograph.
"""

import functools
import importlib.util
from collections.abc import Iterable
from types import ModuleType

import cv2
import numpy as np
from PIL import Image

SIDE = 16
HASH_BYTES = SIDE * SIDE // 8
MAX_DISTANCE = 20  # bits of 256
NOT_INSTALLED = (
    "Near duplicates need the package ImageHash: pip install 'keras-sphereface[duplicates]'"
)
# Two hashes are compared if one of 16 groups of 16 bits is equal. At a distance of 20, the largest,
# 99 % of pairs have such a group, at 12 all but one of 100,000.
_GROUP_BITS = 16
# Of faces with equal groups as many are compared with each: images of one color are all alike.
_MOST_NEIGHBORS = 2_000
_ON_A_SHEET = 8  # faces that are hashed at once, in a row
_BLOCK = 1 << 18  # pairs compared at once
_ONES = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


def is_imagehash_installed() -> bool:
    """Return whether `ImageHash` is installed, without loading it."""
    return importlib.util.find_spec("imagehash") is not None


def face_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Return the difference hashes of thumbnails of faces, uint8 (N, 32).

    Args:
        thumbnails: uint8 (N, H, W, 3) RGB, as `face_measures.thumbnail` makes them.

    Raises:
        ImportError: if `ImageHash` is not installed.
    """
    reduced = [
        cv2.resize(
            cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA
        )
        for face in thumbnails
    ]
    starts = range(0, len(reduced), _ON_A_SHEET**2)
    hashes = [_sheet_hashes(reduced[start : start + _ON_A_SHEET**2]) for start in starts]
    return np.concatenate([np.empty((0, HASH_BYTES), np.uint8), *hashes])


def _sheet_hashes(faces: list[np.ndarray]) -> np.ndarray:
    """Return the hashes of up to 64 faces of the size of their hash, of one sheet of them.

    One by one would take ten times as long. The library does not reduce what has its size.
    """
    high, wide = SIDE, SIDE + 1
    side = _ON_A_SHEET * wide - 1
    sheet = np.zeros((side, side + 1), np.uint8)
    places = [
        (slice(row, row + high), slice(column, column + SIDE))
        for row in range(0, _ON_A_SHEET * high, high)
        for column in range(0, _ON_A_SHEET * wide, wide)
    ][: len(faces)]
    for (rows, columns), face in zip(places, faces, strict=True):
        sheet[rows, columns.start : columns.stop + 1] = face
    bits = _imagehash().dhash(Image.fromarray(sheet), hash_size=side).hash
    return np.packbits([bits[place].ravel() for place in places], axis=1)


@functools.cache
def _imagehash() -> ModuleType:
    if not is_imagehash_installed():
        raise ImportError(NOT_INSTALLED)
    import imagehash

    return imagehash


def near_pairs(hashes: np.ndarray, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """Return the pairs of hashes that differ in few bits, all but one in a hundred.

    Of hashes that are equal only the first is compared with others; each of them makes a pair with
    it. The time grows with the square: 200,000 hashes as dense as those of faces take 20 s, a
    million 8 minutes.

    Args:
        hashes: uint8 (N, 32).
        max_distance: Int. Number of bits.

    Returns:
        Indices (P, 2), the smaller first, in order.

    >>> hashes = np.zeros((3, 32), np.uint8)
    >>> hashes[1] = 255
    >>> hashes[2, 0] = 7
    >>> near_pairs(hashes).tolist()
    [[0, 2]]
    """
    if len(hashes) < 2:
        return np.empty((0, 2), np.int64)
    words = np.ascontiguousarray(hashes).view(np.uint64)
    # Sorted by all bits, so that neighbors of a crowded group are the nearest ones.
    order = np.lexsort(words.T)
    is_new = np.any(words[order[1:]] != words[order[:-1]], axis=1)
    starts = np.flatnonzero(np.r_[True, is_new])
    firsts = order[starts]  # `lexsort` is stable: the first of equal ones
    equal_to = np.repeat(firsts, np.diff(np.r_[starts, len(order)]))
    pairs = [np.column_stack([equal_to, order])[equal_to != order]]
    unique = words[firsts]
    for group in _groups_of_bits(unique):
        pairs += [firsts[found] for found in _near_in_group(unique, group, max_distance)]
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _groups_of_bits(words: np.ndarray) -> Iterable[np.ndarray]:
    """Yield the groups of bits of each hash, uint16 (N,): each of bits that are far apart.

    Neighboring bits agree from face to face: all have eyes in the same place.
    """
    step = SIDE * SIDE // _GROUP_BITS
    for first in range(step):
        group = np.zeros(len(words), np.uint16)
        for number in range(_GROUP_BITS):
            # A bit of each row, and of each column.
            bit = number * SIDE + (first + number) % SIDE
            shift = np.uint64(bit % 64)
            group |= ((words[:, bit // 64] >> shift) & np.uint64(1)).astype(np.uint16) << number
        yield group


def _near_in_group(words: np.ndarray, group: np.ndarray, max_distance: int) -> Iterable[np.ndarray]:
    """Yield pairs (P, 2) of indices with equal groups whose hashes differ in few bits."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    left = np.arange(len(order))
    for offset in range(1, _MOST_NEIGHBORS + 1):
        left = left[left + offset < len(order)]
        left = left[ordered[left] == ordered[left + offset]]
        if not len(left):
            return
        for start in range(0, len(left), _BLOCK):
            block = left[start : start + _BLOCK]
            pair = np.column_stack([order[block], order[block + offset]])
            # Half of the bits rule out most pairs.
            for half in (slice(0, 2), slice(0, 4)):
                pair = pair[_distances(words, pair, half) <= max_distance]
            if len(pair):
                yield pair


def _distances(words: np.ndarray, pairs: np.ndarray, columns: slice) -> np.ndarray:
    differing = words[pairs[:, 0], columns] ^ words[pairs[:, 1], columns]
    # `np.bitwise_count` came with NumPy 2.
    return _ONES[differing.view(np.uint16)].sum(axis=1, dtype=np.int64)


def connected_groups(pairs: np.ndarray) -> list[list[int]]:
    """Return the groups that pairs connect, each in order, in the order of their first.

    >>> connected_groups(np.array([[0, 2], [1, 5], [2, 3]]))
    [[0, 2, 3], [1, 5]]
    """
    parents: dict[int, int] = {}

    def root_of(index: int) -> int:
        while (parent := parents.setdefault(index, index)) != index:
            parents[index] = index = parents[parent]
        return index

    for first, second in pairs.tolist():
        low, high = sorted((root_of(first), root_of(second)))
        parents[high] = low
    groups: dict[int, list[int]] = {}
    for index in sorted(parents):
        groups.setdefault(root_of(index), []).append(index)
    return [groups[root] for root in sorted(groups)]
