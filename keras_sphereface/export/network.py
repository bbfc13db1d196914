"""An exported embedding network in memory, whatever its file: images in, embeddings out."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from keras_sphereface.export.signature import INPUT, OUTPUT, TensorInfo, check_signature

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
        run: Function from one batch of images to embeddings in the runtime of the file, whose
            errors it raises as RuntimeError.

    Example:
        >>> from keras_sphereface.export import open_network
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
        except RuntimeError as error:
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


def network_of(
    path: Path,
    inputs: Mapping[str, TensorInfo],
    outputs: Mapping[str, TensorInfo],
    run: Callable[[np.ndarray], np.ndarray],
) -> Network:
    """Return the network of a file with its tensors, by name, and a function that runs it.

    Raises:
        ValueError: If its signature is another than that of an embedding network.
    """
    check_signature(path, inputs, outputs)
    batch_size, height, width, _ = cast("tuple[Any, ...]", inputs[INPUT].shape)  # checked above
    shape = outputs[OUTPUT].shape
    embedding_size = None if shape is None else shape[1]
    return Network(network_name(path), (height, width), batch_size, embedding_size, run)


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


def _check_images(images: np.ndarray, image_size: tuple[int, int]) -> None:
    shape, dtype = np.shape(images), getattr(images, "dtype", None)
    if dtype != np.uint8 or len(shape) != 4 or not shape[0] or shape[1:] != (*image_size, 3):
        height, width = image_size
        raise ValueError(
            f"`images` must be uint8 (N, {height}, {width}, 3) with N >= 1. "
            f"Received: {dtype} {shape}"
        )
