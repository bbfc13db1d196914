"""Exported embedding networks, opened and run: SavedModel, TensorFlow Lite or ONNX."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf

from keras_sphereface.export._quiet import quiet
from keras_sphereface.export.network_files import check_network_path
from keras_sphereface.export.saved_model import load_savedmodel, signature_tensors
from keras_sphereface.export.signature import (
    INPUT,
    OUTPUT,
    SIGNATURE,
    TensorInfo,
    check_signature,
    check_signature_name,
)

# Words of file names that do not distinguish networks.
_GENERIC_WORDS = {"embedding", "embeddings", "export", "float", "int", "model", "network", "saved"}


@dataclasses.dataclass(frozen=True)
class Network:
    """An exported embedding network, for one thread at a time.

    Called with images, uint8 (N, H, W, 3), any N >= 1, it returns their embeddings, float32
    (N, D), without mirror images.

    Attributes:
        name: Name for tables and curves.
        image_size: (height, width) of the images it takes.
        batch_size: The only N that the file takes, or None; calls pad to it.
        embedding_size: D, or None if the file does not state it.
        run: Function from one batch of images to embeddings in the runtime of the file.

    Example:
        >>> network = open_network("model")
        >>> images = np.zeros((3, *network.image_size, 3), np.uint8)
        >>> network(images).shape, network.both_views(images).shape
        ((3, 8), (3, 16))
    """

    name: str
    image_size: tuple[int, int]
    batch_size: int | None
    embedding_size: int | None
    run: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        _check_images(images, self.image_size)
        count = len(images)
        size = self.batch_size or count
        batches = []
        for start in range(0, count, size):
            # The last image fills up an incomplete batch.
            rows = np.minimum(np.arange(start, start + size), count - 1)
            batches.append(self._run_checked(np.ascontiguousarray(images[rows])))
        return np.concatenate(batches)[:count]

    def both_views(self, images: np.ndarray) -> np.ndarray:
        """Embed images and their mirror images: uint8 (N, H, W, 3) -> float32 (N, 2 D)."""
        views = [self(view) for view in (images, images[:, :, ::-1])]
        return np.concatenate(views, axis=-1)

    def _run_checked(self, batch: np.ndarray) -> np.ndarray:
        try:
            embeddings = self.run(batch)
        # Too little memory, or an operation that this machine lacks.
        except (tf.errors.OpError, RuntimeError) as error:
            raise ValueError(
                f"{self.name} cannot embed {len(batch)} images at once. Received: {error}"
            ) from error
        shape = np.shape(embeddings)
        size = self.embedding_size
        if len(shape) != 2 or shape[0] != len(batch) or size not in (None, shape[1]):
            raise ValueError(
                f"`{OUTPUT}` of {self.name} must be of shape ({len(batch)}, {size or 'D'}) for "
                f"{len(batch)} images. Received: shape {shape}"
            )
        return embeddings


def open_network(path: str | os.PathLike) -> Network:
    """Open an exported network: a SavedModel folder, a *.tflite or a *.onnx file.

    Any file with the signature `images` uint8 (N, H, W, 3) -> `embeddings` float32 (N, D) is
    opened, whoever wrote it; N may be fixed. SavedModel and TensorFlow Lite must call this
    signature `serving_default`.

    Raises:
        FileNotFoundError: If there is no file or folder, or no SavedModel in it.
        ValueError: If the file is of another kind or has another signature, which is reported.
        ImportError: For ONNX without onnxruntime.

    Example:
        >>> network = open_network("model")
        >>> network.image_size, network.embedding_size
        ((112, 96), 8)
    """
    path = Path(path)
    check_network_path(path)
    if path.is_dir():
        return _open_savedmodel(path)
    return (_open_tflite if path.suffix.lower() == ".tflite" else _open_onnx)(path)


def network_name(path: str | os.PathLike) -> str:
    """Return a name for tables: the end of the path, from the last part that is specific.

    `runs/casia/export` is casia/export, `runs/casia/model-int8.tflite` casia/model-int8.tflite,
    `downloads/mobilefacenet.onnx` mobilefacenet.onnx.
    """
    parts = Path(os.path.abspath(path)).parts[1:]
    for start in range(len(parts) - 1, 0, -1):
        words = set(re.findall(r"[^\W\d_]+", Path(parts[start]).stem.lower()))
        if words - _GENERIC_WORDS:
            return "/".join(parts[start:])
    return "/".join(parts)


def _open_savedmodel(folder: Path) -> Network:
    model = load_savedmodel(folder)

    def run(batch: np.ndarray) -> np.ndarray:
        # Through `model`: the signature alone does not keep the variables alive.
        return model.signatures[SIGNATURE](**{INPUT: tf.constant(batch)})[OUTPUT].numpy()

    return _network(folder, *signature_tensors(model.signatures[SIGNATURE]), run)


def _open_tflite(path: Path) -> Network:
    try:
        with quiet():
            interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=os.cpu_count())
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a TensorFlow Lite network: {error}") from error
    check_signature_name(path, interpreter.get_signature_list())
    runner = interpreter.get_signature_runner(SIGNATURE)
    inputs, outputs = (
        {name: _tflite_tensor(details) for name, details in tensors.items()}
        for tensors in (runner.get_input_details(), runner.get_output_details())
    )
    return _network(path, inputs, outputs, lambda batch: runner(**{INPUT: batch})[OUTPUT])


def _open_onnx(path: Path) -> Network:
    try:
        with quiet():
            import onnxruntime
    except ImportError as error:
        raise ImportError(
            "Opening an ONNX network needs onnxruntime: pip install keras-sphereface[onnx]"
        ) from error
    # Other providers are listed even on machines where they cannot run.
    providers = {"CUDAExecutionProvider", "CPUExecutionProvider"}
    available = [name for name in onnxruntime.get_available_providers() if name in providers]
    try:
        with quiet():
            session = onnxruntime.InferenceSession(str(path), providers=available)
    except Exception as error:  # onnxruntime's errors share no narrower class
        raise ValueError(f"{path} is not an ONNX network that can be run: {error}") from error
    inputs, outputs = (
        {node.name: _onnx_tensor(node) for node in nodes}
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return _network(path, inputs, outputs, lambda batch: session.run([OUTPUT], {INPUT: batch})[0])


def _network(
    path: Path,
    inputs: Mapping[str, TensorInfo],
    outputs: Mapping[str, TensorInfo],
    run: Callable[[np.ndarray], np.ndarray],
) -> Network:
    check_signature(path, inputs, outputs)
    batch_size, height, width, _ = cast("tuple[Any, ...]", inputs[INPUT].shape)  # checked above
    shape = outputs[OUTPUT].shape
    embedding_size = None if shape is None else shape[1]
    return Network(network_name(path), (height, width), batch_size, embedding_size, run)


def _tflite_tensor(details: Mapping[str, Any]) -> TensorInfo:
    # No shape means an open rank: networks have no scalars.
    shape = tuple(None if size == -1 else int(size) for size in details["shape_signature"])
    return TensorInfo(np.dtype(details["dtype"]).name, shape or None)


def _onnx_tensor(node: Any) -> TensorInfo:
    # Types are called "tensor(float)"; an open size has a name instead of a number.
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape or ())
    return TensorInfo({"float": "float32", "double": "float64"}.get(dtype, dtype), shape or None)


def _check_images(images: np.ndarray, image_size: tuple[int, int]) -> None:
    shape, dtype = np.shape(images), getattr(images, "dtype", None)
    if dtype != np.uint8 or len(shape) != 4 or not shape[0] or shape[1:] != (*image_size, 3):
        height, width = image_size
        raise ValueError(
            f"`images` must be uint8 (N, {height}, {width}, 3) with N >= 1. "
            f"Received: {dtype} {shape}"
        )
