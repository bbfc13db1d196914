"""What is evaluated: exported networks, and embeddings that any other system has saved."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_sphereface.evaluation import embeddings
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.face_pairs import Load
from keras_sphereface.export import runtime
from keras_sphereface.utils import names


class Embedder(NamedTuple):
    """What gives embeddings: a network, or a file that has them."""

    name: str
    image_size: tuple[int, int] | None  # of the faces that it needs; None if it needs none
    embed: Callable[[Sequence[str], Load | None], Embeddings]


def open_systems(
    models: str | Sequence[str], saved: str | Sequence[str], batch_size: int
) -> list[Embedder]:
    """The systems that the files of networks and of saved embeddings are, each with its own name.

    Args:
        models: SavedModel folders, .tflite or .onnx files.
        saved: .npz files of embeddings.
        batch_size: images embedded at once.

    Raises:
        FileNotFoundError, ValueError: if there is none, or a file cannot be used.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1. Received: batch_size={batch_size}")
    systems = [_network(path, batch_size) for path in several(models)]
    systems += [_saved(path) for path in several(saved)]
    if not systems:
        raise ValueError("`model` or `embeddings` must name what to evaluate. Received: neither")
    # Rows, curves and folders go by the name.
    named = zip(systems, names.distinct(system.name for system in systems), strict=True)
    return [system._replace(name=name) for system, name in named]


def check_images(system: Embedder, are_given: bool) -> None:
    """Refuse a network without images.

    Raises:
        ValueError: naming it.
    """
    if system.image_size is not None and not are_given:
        raise ValueError(f"{system.name} needs images: give `images` or `records`.")


def several(value: str | Sequence[str]) -> list[str]:
    """One path, or several, or none."""
    return [value] * bool(value) if isinstance(value, str) else list(value)


def _network(path, batch_size):
    network = runtime.open_network(path)

    def embed(keys, load):
        return embeddings.embed(keys, load, network.both_views, batch_size)

    return Embedder(network.name, network.image_size, embed)


def _saved(path):
    loaded = embeddings.load(path)
    return Embedder(Path(path).stem, None, lambda keys, load: embeddings.select(loaded, keys))
