"""Verification sets in the `.bin` form: a pickle of encoded images and of which pairs match.

A pickle can run code. The reader here admits only what the format needs, bytes and NumPy
arrays of bytes, and refuses everything else.
"""

import io
import os
import pickle
from collections.abc import Sequence

import numpy as np

from keras_sphereface.data.pairs import lfw

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
    def find_class(self, module, name):
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
        2 P encoded images, pair i being number 2 i and 2 i + 1, and is_same (P,) bool.

    Raises:
        ValueError: if the file is damaged, holds anything beside images and truth values,
            or if their numbers do not fit.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        loaded = _BytesOnlyUnpickler(io.BytesIO(content), encoding="bytes").load()
        bins, is_same = loaded
        images = [entry if isinstance(entry, bytes) else _array_bytes(entry) for entry in bins]
        matched = np.array([bool(value) for value in is_same], dtype=bool)
    # A damaged pickle raises almost anything; none of it tells a user more than this.
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
    """The pairs of a verification set; the key of an image is the first place of its bytes.

    A `.bin` holds an image once for each of its pairs, and has no folds: the pairs are cut into
    equal parts in their order, usually ten; if they do not come out even, the first have one more.

    Raises:
        ValueError: naming the file, if a part has pairs of one kind only.
    """
    count = len(is_same)
    parts = np.array_split(np.arange(count), num_folds)
    folds = np.repeat(np.arange(1, num_folds + 1), [len(part) for part in parts])
    for fold in range(1, num_folds + 1):
        inside = np.flatnonzero(folds == fold)
        if len(np.unique(is_same[inside])) < 2:
            where = f"pairs {inside[0]} to {inside[-1]}" if len(inside) else "no pair"
            raise ValueError(
                f"{path}: each of its {num_folds} parts must hold matched and mismatched pairs. "
                f"Received: {where} in part {fold}, of one kind only"
            )
    first_place: dict[bytes, int] = {}
    places = (first_place.setdefault(image, i) for i, image in enumerate(images))
    keys = [f"{place:06d}" for place in places]
    return lfw.Pairs(keys[::2], keys[1::2], is_same, folds)


def write_bin(
    path: str | os.PathLike, images: Sequence[bytes], is_same: Sequence[bool] | np.ndarray
) -> None:
    """Write encoded images and whether pairs match; the inverse of `read_bin`."""
    content = pickle.dumps((list(images), [bool(same) for same in is_same]), protocol=4)
    with open(path, "wb") as file:
        file.write(content)


def _array_bytes(entry):
    if not (isinstance(entry, np.ndarray) and entry.dtype == np.uint8):
        raise TypeError(f"an image of type {type(entry).__name__}")
    return entry.tobytes()
