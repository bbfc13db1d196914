"""Files of weights, told by their first bytes."""

import os
from pathlib import Path

import numpy as np

from keras_sphereface.export.weights.caffemodel import read_caffemodel
from keras_sphereface.export.weights.torch_file import read_torch_file

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
# What users take for a file of weights, and what to do.
_OTHERS = {
    b"7z\xbc\xaf": "a 7z archive; unpack it first, for example by `7z x FILE`",
    b"<": "a web page; the download did not give the file. Open its address in a browser",
    b"\x89HDF": "an HDF5 file; Caffe wrote it as .caffemodel.h5, and the binary form is needed",
    b"Rar!": "a rar archive; unpack it first",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file by `git lfs pull`",
}


def check_weights_file(path: str | os.PathLike) -> None:
    """Refuse a file that is no weights, by its first bytes.

    Raises:
        ValueError: With what it is.

    Example:
        >>> with open("model.caffemodel", "w") as file:
        ...     _ = file.write("<!DOCTYPE html>")
        >>> check_weights_file("model.caffemodel")
        Traceback (most recent call last):
        ValueError: `weights` must be a .caffemodel of Caffe or a .pth of PyTorch. Received:
        model.caffemodel, a web page; the download did not give the file...
    """
    head = _head(path)
    for begin, what in _OTHERS.items():
        if head.startswith(begin):
            raise _error(path, what)
    if not head:
        raise _error(path, "an empty file")


def read_layers(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Return {name of a layer: its arrays} of a .caffemodel or a .pth.

    The arrays of a layer are its weights and its bias, or its slopes.

    Raises:
        ValueError: If it is neither, or is damaged.
    """
    check_weights_file(path)
    if _head(path).startswith((_ZIP, _PICKLE)):
        return _layers_of_tensors(read_torch_file(path))
    return read_caffemodel(path)


def _layers_of_tensors(tensors: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    layers: dict[str, list[np.ndarray]] = {}
    # As in Caffe: the weights of a layer come before its bias.
    for name in sorted(tensors, key=lambda name: not name.endswith(".weight")):
        layers.setdefault(name.rpartition(".")[0], []).append(tensors[name])
    return layers


def _head(path: str | os.PathLike) -> bytes:
    with open(path, "rb") as file:
        return file.read(32).lstrip(b"\xef\xbb\xbf \r\n")


def _error(path: str | os.PathLike, what: str) -> ValueError:
    return ValueError(
        "`weights` must be a .caffemodel of Caffe or a .pth of PyTorch. "
        f"Received: {Path(path)}, {what}"
    )
