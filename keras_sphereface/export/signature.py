"""The signature of exported embedding networks: names, types and shapes of input and output."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

SIGNATURE = "serving_default"
INPUT, OUTPUT = "images", "embeddings"
NETWORK_FILES = "a SavedModel folder (with saved_model.pb), or a *.keras, *.tflite or *.onnx file"
_EXPECTED = f"`{INPUT}` uint8 (N, H, W, 3), H and W fixed -> `{OUTPUT}` float32 (N, D)"


class TensorInfo(NamedTuple):
    """An input or output of a network, in the same words for every file format.

    Attributes:
        dtype: NumPy's name of the type, for example "uint8".
        shape: Sizes of the axes, None for an open size; None if the rank is open too.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


def check_signature(
    path: str | os.PathLike,
    inputs: Mapping[str, TensorInfo],
    outputs: Mapping[str, TensorInfo],
) -> None:
    """Refuse a network unless it maps `images` uint8 (N, H, W, 3) to `embeddings` float32 (N, D).

    Outputs beside `embeddings` are ignored.

    Args:
        path: File or folder of the network, for the message.
        inputs: {name: tensor} of all inputs.
        outputs: {name: tensor} of all outputs.

    Raises:
        ValueError: With the signature that was received and, if only names differ, which to rename.
    """
    has_only_images = len(inputs) == 1 and _is_batch_of_images(inputs.get(INPUT))
    if has_only_images and _is_batch_of_embeddings(outputs.get(OUTPUT)):
        return
    hints = _rename_hint("input", inputs, INPUT, _is_batch_of_images)
    hints += _rename_hint("output", outputs, OUTPUT, _is_batch_of_embeddings)
    raise ValueError(
        f"The signature of a network must be {_EXPECTED}.{hints} "
        f"Received: {_describe(inputs)} -> {_describe(outputs)} in {path}"
    )


def check_signature_name(path: str | os.PathLike, signatures: Iterable[str]) -> None:
    """Refuse a network without the signature `serving_default`.

    Raises:
        ValueError: With the names of the signatures it has.
    """
    if SIGNATURE not in signatures:
        raise ValueError(
            f"A network needs a signature {SIGNATURE}, {_EXPECTED}. "
            f"Received: {path} with signatures {sorted(signatures)}"
        )


def _rename_hint(
    side: str,
    tensors: Mapping[str, TensorInfo],
    name: str,
    fits: Callable[[TensorInfo | None], bool],
) -> str:
    """Return what to rename where a single tensor differs in its name only."""
    if len(tensors) != 1:
        return ""
    ((received, tensor),) = tensors.items()
    is_wrong_name_only = received != name and fits(tensor)
    return f" Rename its {side} `{received}` to `{name}`." if is_wrong_name_only else ""


def _is_batch_of_images(tensor: TensorInfo | None) -> bool:
    if tensor is None or tensor.shape is None or len(tensor.shape) != 4:
        return False
    are_sizes_valid = 0 not in tensor.shape and None not in tensor.shape[1:]
    return tensor.dtype == "uint8" and are_sizes_valid and tensor.shape[3] == 3


def _is_batch_of_embeddings(tensor: TensorInfo | None) -> bool:
    if tensor is None or tensor.dtype != "float32":
        return False
    return tensor.shape is None or len(tensor.shape) == 2


def _describe(tensors: Mapping[str, TensorInfo]) -> str:
    return ", ".join(
        f"`{name}` {tensor.dtype} {_describe_shape(tensor)}" for name, tensor in tensors.items()
    )


def _describe_shape(tensor: TensorInfo) -> str:
    if tensor.shape is None:
        return "(of any rank)"
    return f"({', '.join('?' if size is None else str(size) for size in tensor.shape)})"
