"""Systems under evaluation: exported networks, and saved embeddings of any other system."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.keys import matched_keys
from keras_sphereface.evaluation.embeddings import (
    NO_EMBEDDING,
    Embeddings,
    embed_faces,
    load_embeddings,
)
from keras_sphereface.evaluation.faces import Load
from keras_sphereface.evaluation.verification_metrics import EmbeddingRuntime
from keras_sphereface.export import runtime
from keras_sphereface.export.crops import with_crops
from keras_sphereface.utils import names
from keras_sphereface.utils.environment import machine
from keras_sphereface.utils.progress import stage


class EmbeddingTimer:
    """A network that embeds images with their mirror images, and the time it takes.

    Args:
        both_views: Function from uint8 (n, H, W, 3) to (n, 2 D).

    Example:
        >>> timer = EmbeddingTimer(lambda images: np.ones((len(images), 16), np.float32))
        >>> timer(np.zeros((4, 112, 96, 3), np.uint8)).shape, timer.runtime(8).num_images
        ((4, 16), 4)
    """

    def __init__(self, both_views: Callable[[np.ndarray], np.ndarray]) -> None:
        self._both_views = both_views
        self._batches: list[tuple[int, float]] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embed images (n, H, W, 3)."""
        start = time.perf_counter()
        embeddings = self._both_views(images)
        self._batches.append((len(images), time.perf_counter() - start))
        return embeddings

    def runtime(self, num_values: int) -> EmbeddingRuntime | None:
        """Return the time an image takes, of templates of so many values; None before any batch.

        It is the median over the batches; the first one, which traces the network, is left out if
        there are others.
        """
        if not self._batches:
            return None
        seconds = statistics.median(s / n for n, s in self._batches[1:] or self._batches)
        return EmbeddingRuntime(
            num_images=sum(n for n, _ in self._batches),
            batch_size=max(n for n, _ in self._batches),
            milliseconds_per_image=1000 * seconds,
            images_per_second=1 / seconds,
            bytes_per_template=num_values * np.dtype(np.float32).itemsize,
            machine=machine(),
        )


class Embedder(NamedTuple):
    """A source of embeddings: a network, or a file of saved embeddings.

    Attributes:
        name: Name for tables, curves and folders.
        image_size: (height, width) of the faces that a network takes; None for saved embeddings.
        embed: Function from keys, and a loader of faces if a network needs it, to embeddings.
        timer: Times of the batches that a network embedded; None for saved embeddings.
        path: Path of the network or of the saved embeddings.

    Example:
        >>> (embedder,) = open_embedders("model")
        >>> embedder.image_size
        (112, 96)
    """

    name: str
    image_size: tuple[int, int] | None
    embed: Callable[[Sequence[str], Load | None], Embeddings]
    timer: EmbeddingTimer | None = None
    path: str = ""

    def runtime(self, num_values: int) -> EmbeddingRuntime | None:
        """Return the time that the network took so far; see `EmbeddingTimer.runtime`."""
        return self.timer.runtime(num_values) if self.timer else None

    def require_images(self, has_images: bool) -> None:
        """Raise ValueError, with the flags to give, if this is a network without images."""
        if self.image_size is not None and not has_images:
            raise _no_images(self.name)


def open_embedders(
    models: str | Sequence[str] = (),
    embeddings: str | Sequence[str] = (),
    batch_size: int = 64,
    crops: int = 1,
) -> list[Embedder]:
    """Open networks and files of saved embeddings, each under a different name.

    Args:
        models: Paths of SavedModel folders, .keras, .tflite or .onnx files.
        embeddings: Paths of .npz files of embeddings.
        batch_size: Int. Images embedded at once.
        crops: Int. Number of crops of each face that networks embed and average.

    Raises:
        FileNotFoundError, ValueError: If there is none, or a file cannot be used.

    Example:
        >>> (embedder,) = open_embedders("model", batch_size=2)
        >>> face = np.zeros((112, 96, 3), np.uint8)
        >>> embedder.embed(["a", "b", "c"], lambda key: face).features.shape
        (3, 16)
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1. Received: batch_size={batch_size}")
    embedders = [_open_network(path, batch_size, crops) for path in as_list(models)]
    embedders += [_open_saved(path) for path in as_list(embeddings)]
    if not embedders:
        raise ValueError(
            "`model` or `embeddings` must name the systems to evaluate. Received: neither"
        )
    # Rows, curves and folders go by the name.
    distinct = names.distinct(embedder.name for embedder in embedders)
    return [
        embedder._replace(name=name) for embedder, name in zip(embedders, distinct, strict=True)
    ]


def as_list(value: str | Sequence[str]) -> list[str]:
    """Return a list of one path, several or none; an empty string is none."""
    return [value] * bool(value) if isinstance(value, str) else list(value)


def _no_images(name: str) -> ValueError:
    return ValueError(f"{name} needs images: give `images` or `records`.")


def _open_network(path: str, batch_size: int, crops: int) -> Embedder:
    with stage(f"opening {path}"):
        network = with_crops(runtime.open_network(path), crops)
    timer = EmbeddingTimer(network.both_views)

    def embed(keys: Sequence[str], load: Load | None) -> Embeddings:
        if load is None:
            raise _no_images(network.name)
        return embed_faces(keys, load, timer, batch_size)

    return Embedder(network.name, network.image_size, embed, timer, path)


def _open_saved(path: str) -> Embedder:
    with stage(f"reading {path}"):
        saved = load_embeddings(path)
    return Embedder(
        Path(path).stem, None, lambda keys, load: _select_by_name(saved, keys), path=path
    )


def _select_by_name(saved: Embeddings, keys: Sequence[str]) -> Embeddings:
    """Return the embeddings of `keys`, whose names in the file may have another suffix."""
    name_of = matched_keys(keys, saved.keys)
    selected = saved.select([name_of.get(key, key) for key in keys])
    missing = {key: saved.missing.get(key, NO_EMBEDDING) for key in keys if key not in name_of}
    return Embeddings([key for key in keys if key in name_of], selected.views, missing)
