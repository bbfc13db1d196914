"""The weights of a .caffemodel, read without Caffe.

Of its schema, caffe.proto, only what holds weights is read: the name of a layer and its blobs, in
the present form and in that of the first version.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_sphereface.export.weights import wire
from keras_sphereface.export.weights.wire import Field

# Numbers of fields in caffe.proto.
_LAYER, _LAYER_V1 = 100, 2  # of NetParameter
_NAME, _BLOBS = {_LAYER: 1, _LAYER_V1: 4}, {_LAYER: 7, _LAYER_V1: 6}
_SHAPE, _DIM = 7, 1  # BlobProto.shape, BlobShape.dim
_OLD_DIMS = (1, 2, 3, 4)  # num, channels, height, width
_FLOATS, _DOUBLES = 5, 8
_TYPES: dict[int, np.dtype] = {_FLOATS: np.dtype("<f4"), _DOUBLES: np.dtype("<f8")}


def read_caffemodel(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Return {name of a layer: its blobs} of the layers of a .caffemodel that have blobs.

    Args:
        path: File in the binary form of Caffe.

    Returns:
        Arrays of float32, or float64 if the network was of doubles, in the shapes of the file:
        convolutions (out, in, H, W), inner products (out, in), biases and slopes (channels,).
        Files of old versions have four axes everywhere.

    Raises:
        ValueError: If it is no such file, is damaged, or has a layer twice.

    Example:
        >>> blob = b"\\x2a\\x08\\x00\\x00\\x80\\x3f\\x00\\x00\\x00\\x40"  # data: 1.0 and 2.0
        >>> shape = b"\\x3a\\x03\\x0a\\x01\\x02"  # (2,)
        >>> layer = b"\\x0a\\x05relu1" + b"\\x3a\\x0f" + blob + shape
        >>> with open("tiny.caffemodel", "wb") as file:
        ...     _ = file.write(b"\\xa2\\x06\\x18" + layer)
        >>> read_caffemodel("tiny.caffemodel")
        {'relu1': [array([1., 2.], dtype=float32)]}
    """
    content = memoryview(Path(path).read_bytes())
    layers: dict[str, list[np.ndarray]] = {}
    try:
        for field in wire.message_fields(content):
            if field.number in (_LAYER, _LAYER_V1):
                name, blobs = _layer(_message(field), field.number)
                if blobs and name in layers:
                    raise ValueError(f"two layers are called {name!r}")
                if blobs:
                    layers[name] = blobs
    except ValueError as error:
        raise ValueError(
            f"{path} must be a .caffemodel, and whole. Received: {error}, in {len(content):,} bytes"
        ) from error
    if not layers:
        raise ValueError(f"{path} must be a .caffemodel. Received: no layer with weights")
    return layers


def _layer(message: memoryview, kind: int) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field in wire.message_fields(message):
        if field.number == _NAME[kind] and field.kind == wire.BYTES:
            name = bytes(_message(field)).decode()
        elif field.number == _BLOBS[kind]:
            try:
                blobs.append(_blob(_message(field)))
            except ValueError as error:
                raise ValueError(f"{error}, in blob {len(blobs)} of layer {name!r}") from error
    return name, blobs


def _blob(message: memoryview) -> np.ndarray:
    shape: list[int] | None = None
    old_dims: dict[int, int] = {}
    parts: list[np.ndarray] = []
    for field in wire.message_fields(message):
        if field.number == _SHAPE:
            shape = list(_dims(_message(field)))
        elif field.number in _OLD_DIMS and isinstance(field.value, int):
            old_dims[field.number] = field.value
        elif field.number in _TYPES:
            parts.append(_numbers(field))
    values = np.concatenate(parts) if parts else np.empty(0, np.float32)
    if shape is None:
        shape = [old_dims.get(number, 0) for number in _OLD_DIMS] if old_dims else [len(values)]
    if math.prod(shape) != len(values):
        raise ValueError(f"{len(values)} numbers for the shape {tuple(shape)}")
    return values.reshape(shape)


def _numbers(field: Field) -> np.ndarray:
    dtype = _TYPES[field.number]
    values = _message(field)  # packed, or one field each
    if len(values) % dtype.itemsize:
        raise ValueError(f"{len(values)} bytes for numbers of {dtype.itemsize}")
    return np.frombuffer(values, dtype)


def _dims(message: memoryview) -> Iterator[int]:
    for field in wire.message_fields(message):
        if field.number == _DIM:
            yield from [field.value] if isinstance(field.value, int) else wire.varints(field.value)


def _message(field: Field) -> memoryview:
    if isinstance(field.value, int):
        raise ValueError(f"field {field.number} is a number")
    return field.value
