"""Verification sets of InsightFace (`lfw.bin`): a pickle of encoded images and pair labels.

A pickle can run code. The reader admits only bytes and NumPy arrays of bytes, and refuses
everything else.
"""

import functools
import io
import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.utils.progress import warn

_ALLOWED = {
    ("_codecs", "encode"),
    ("builtins", "bytearray"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
}


class _BytesOnlyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a verification set")
        # NumPy 2 moved these; old files name the old place and new files the new one.
        if module.startswith("numpy.") and np.lib.NumpyVersion(np.__version__) < "2.0.0":
            module = module.replace("numpy._core", "numpy.core")
        elif module.startswith("numpy.core."):
            module = module.replace("numpy.core", "numpy._core")
        return super().find_class(module, name)


def read_bin(path: str | os.PathLike) -> tuple[list[bytes], np.ndarray]:
    """Read a verification set such as `lfw.bin`.

    Returns:
        2 P encoded images, of which 2 i and 2 i + 1 are pair i, and is_same (P,) bool.

    Raises:
        ValueError: if the file is damaged, holds anything beside images and truth values, or has
            not two images a pair.

    Example:

    >>> write_bin("two.bin", [b"a", b"b", b"c", b"d"], [True, False])
    >>> images, is_same = read_bin("two.bin")
    >>> len(images), is_same
    (4, array([ True, False]))
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        bins, is_same = _BytesOnlyUnpickler(io.BytesIO(content), encoding="bytes").load()
        images = [entry if isinstance(entry, bytes) else _array_bytes(entry) for entry in bins]
        matched = np.array([bool(value) for value in is_same], dtype=bool)
    # A damaged pickle may raise any exception.
    except Exception as error:
        raise ValueError(
            f"{path} is not a verification set (a pickle of encoded images and truth values). "
            f"Received: {error}"
        ) from error
    if len(images) != 2 * len(matched):
        raise ValueError(
            f"{path} must hold two images for each of its pairs. "
            f"Received: {len(images)} images, {len(matched)} pairs"
        )
    return images, matched


def pairs_from_bin(
    images: Sequence[bytes],
    is_same: np.ndarray,
    path: str | os.PathLike,
    num_folds: int = 10,
) -> lfw.Pairs:
    """Return the pairs of a verification set; the key of an image is its first number in the set.

    A `.bin` repeats an image in each of its pairs, and has no folds: the pairs are cut into equal
    folds in their order, as InsightFace cuts them; if the division leaves a remainder, the first
    folds have one more. Where such a fold has pairs of one kind only (all matched pairs first,
    say), matched and mismatched pairs are cut separately, with a warning.

    Args:
        images: 2 P encoded images, as of `read_bin`.
        is_same: (P,) bool.
        path: File that is named in messages.
        num_folds: Int. Number of folds; fewer if there are fewer pairs of a kind.

    Raises:
        ValueError: naming the file, if all pairs are of one kind.

    Example:

    >>> pairs = pairs_from_bin([b"a", b"b", b"a", b"c"], np.array([True, False]), "set.bin", 1)
    >>> pairs.first, pairs.second
    (['000000', '000000'], ['000001', '000003'])
    """
    first_number: dict[bytes, int] = {}
    keys = [f"{first_number.setdefault(image, i):06d}" for i, image in enumerate(images)]
    return lfw.Pairs(keys[::2], keys[1::2], is_same, _folds(is_same, path, num_folds))


def _folds(is_same: np.ndarray, path: str | os.PathLike, num_folds: int) -> np.ndarray:
    """Return (P,) folds from 1: equal ones in order, or by kind if one would have one kind only."""
    num_matched = int(is_same.sum())
    if num_matched in (0, len(is_same)):
        raise ValueError(
            f"{path} must hold matched and mismatched pairs. Received: {num_matched} matched and "
            f"{len(is_same) - num_matched} mismatched pairs"
        )
    in_order = np.array_split(np.arange(len(is_same)), num_folds)
    if all(len(np.unique(is_same[fold])) == 2 for fold in in_order):
        return np.repeat(np.arange(1, num_folds + 1), [len(fold) for fold in in_order])
    folds = lfw.assign_folds(is_same, num_folds)
    _warn_once(
        f"{path}: cut in their order, the pairs would leave folds of one kind only. Matched and "
        f"mismatched pairs are cut into {folds.max()} folds separately."
    )
    return folds


# Commands read a set when they check it and when they use it.
_warn_once = functools.cache(warn)


def write_bin(
    path: str | os.PathLike, images: Sequence[bytes], is_same: Sequence[bool] | np.ndarray
) -> None:
    """Write 2 P encoded images and P pair labels; the inverse of `read_bin`.

    Example:

    >>> write_bin("one.bin", [b"a", b"b"], [True])
    >>> read_bin("one.bin")[0]
    [b'a', b'b']
    """
    content = pickle.dumps((list(images), [bool(same) for same in is_same]), protocol=4)
    with open(path, "wb") as file:
        file.write(content)


def _array_bytes(entry: Any) -> bytes:
    if not (isinstance(entry, np.ndarray) and entry.dtype == np.uint8):
        raise TypeError(f"an image of type {type(entry).__name__}")
    return entry.tobytes()
