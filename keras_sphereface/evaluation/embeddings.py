"""Embeddings by key: computed once for each image, kept in `.npz` files, averaged to templates."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_sphereface.evaluation.faces import Load, load_faces
from keras_sphereface.metrics import protocols, templates
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.npz import read_npz
from keras_sphereface.utils.progress import progress_bar

NO_EMBEDDING = "no embedding"
_BATCHES_AHEAD = 2


class Embeddings(NamedTuple):
    """Embeddings of N images or templates.

    Attributes:
        keys: The N keys.
        views: (N, V, D): of the image and, V = 2, of its mirror image.
        missing: {key: reason} of images or templates without an embedding.

    Example:
        >>> embeddings = Embeddings(["a", "b"], np.ones((2, 2, 8)), {"c": "no such image"})
        >>> embeddings.features.shape, embeddings.rows(["b"]).tolist()
        ((2, 16), [1])
    """

    keys: list[str]
    views: np.ndarray
    missing: dict[str, str]

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """Return the rows of keys, all of which must have an embedding."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        return np.array([row_of[key] for key in keys], np.int64)

    @property
    def features(self) -> np.ndarray:
        """The views joined, (N, V D)."""
        return self.views.reshape(len(self.views), -1)

    def select(self, keys: Sequence[str]) -> "Embeddings":
        """Return the embeddings of `keys`, in this order; keys without an embedding are missing."""
        present = set(self.keys)
        kept = [key for key in keys if key in present]
        missing = {key: self.missing.get(key, NO_EMBEDDING) for key in keys if key not in present}
        return Embeddings(kept, self.views[self.rows(kept)], missing)

    def merge(self, other: "Embeddings") -> "Embeddings":
        """Return the embeddings of both; a key is missing if neither has it."""
        keys = [*self.keys, *other.keys]
        views = [part.views for part in (self, other) if part.keys] or [self.views]
        present = set(keys)
        missing = {**self.missing, **other.missing}
        return Embeddings(
            keys, np.concatenate(views), {k: why for k, why in missing.items() if k not in present}
        )


def embed_faces(
    keys: Sequence[str],
    load: Load,
    both_views: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
) -> Embeddings:
    """Embed each face once, whatever the number of its pairs, while the next are decoded.

    Args:
        keys: Keys of the images.
        load: Function from a key to a face, uint8 (H, W, 3).
        both_views: Function from uint8 (n, H, W, 3) to (n, 2 D), the embeddings joined with
            those of the mirror images.
        batch_size: Int. Images embedded at once.

    Raises:
        ValueError: If an embedding is zero or not finite, with the key of the image.

    Example:
        >>> from keras_sphereface.export.runtime import open_network
        >>> network = open_network("model")
        >>> face = np.zeros((*network.image_size, 3), np.uint8)
        >>> embed_faces(["a", "b"], lambda key: face, network.both_views, 2).views.shape
        (2, 2, 8)
    """
    missing: dict[str, str] = {}
    embedded: list[str] = []
    views = np.zeros((0, 2, 0), np.float32)
    with progress_bar(total=len(keys), unit="image", desc="embedding") as bar:
        faces = load_faces(keys, load, missing, _BATCHES_AHEAD * batch_size)
        while batch := list(itertools.islice(faces, batch_size)):
            batch_keys, images = zip(*batch, strict=True)
            batch_views = both_views(np.stack(images)).reshape(len(images), 2, -1)
            protocols.check_embeddings(batch_views, batch_keys)
            if not embedded:  # in one piece: a million take gigabytes, and twice that to join
                views = np.empty((len(keys), *batch_views.shape[1:]), batch_views.dtype)
            views[len(embedded) : len(embedded) + len(batch_keys)] = batch_views
            embedded += batch_keys
            bar.update(len(embedded) + len(missing) - bar.n)
        bar.update(len(keys) - bar.n)  # faces missing at the end
    return Embeddings(embedded, views[: len(embedded)], missing)


def template_embeddings(
    image_embeddings: Embeddings, images: Mapping[str, Sequence[tuple[str, str]]]
) -> Embeddings:
    """Average embeddings of images to templates: over the images of each medium, then over media.

    Args:
        image_embeddings: Embeddings of the images.
        images: {template: [(key, medium)]}. Missing images are left out, and a template
            without any image is missing.

    Example:
        >>> views = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 2.0]]])
        >>> video = [("1.jpg", "video"), ("2.jpg", "video"), ("3.jpg", "photo")]
        >>> template_embeddings(
        ...     Embeddings(["1.jpg", "2.jpg", "3.jpg"], views, {}), {"T": video}
        ... ).features.tolist()
        [[0.25, 1.25]]
    """
    present = set(image_embeddings.keys)
    entries = [(name, key, m) for name, of in images.items() for key, m in of if key in present]
    kept = {name for name, _, _ in entries}
    missing = {name: "none of its images" for name in images if name not in kept}
    if not entries:
        return Embeddings([], image_embeddings.views[:0], missing)
    names, keys, media = (np.array(column) for column in zip(*entries, strict=True))
    features = image_embeddings.features[image_embeddings.rows(keys)]
    means_of, means = templates.template_means(features, names, media)
    views = means.reshape(len(means), *image_embeddings.views.shape[1:])
    return Embeddings([str(name) for name in means_of], views, missing)


def save_embeddings(embeddings: Embeddings, path: str | os.PathLike) -> None:
    """Write `keys` (N,), `embeddings` (N, D) and, with V = 2, `mirrored` (N, D) as `.npz`.

    Args:
        embeddings: N embeddings of images or templates.
        path: Path of the file, ending in .npz.

    Example:
        >>> save_embeddings(Embeddings(["a"], np.ones((1, 2, 8)), {}), "embeddings.npz")
        >>> np.load("embeddings.npz").files
        ['keys', 'embeddings', 'mirrored']
    """
    arrays: dict[str, Any] = dict(
        zip(("embeddings", "mirrored"), np.moveaxis(embeddings.views, 1, 0), strict=False)
    )
    with atomic_file(Path(path)) as partial, open(partial, "wb") as file:
        np.savez(file, keys=np.array(embeddings.keys, dtype=str), **arrays)


def load_embeddings(path: str | os.PathLike) -> Embeddings:
    """Read embeddings that `save_embeddings`, or another system in the same form, wrote.

    Args:
        path: Path of an .npz file.

    Raises:
        ValueError: If the file has another form, a key twice, or an embedding that is zero or
            not finite.

    Example:
        >>> np.savez("other.npz", keys=["a", "b"], embeddings=np.eye(2, 8))
        >>> load_embeddings("other.npz").views.shape
        (2, 1, 8)
    """
    arrays = read_npz(path, _form_error)
    shapes = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
    if not {"keys", "embeddings"} <= set(arrays):
        raise _form_error(path, shapes)
    keys, views = arrays["keys"], [arrays["embeddings"]]
    views += [arrays["mirrored"]] if "mirrored" in arrays else []
    are_floats = all(view.dtype.kind == "f" and view.shape == views[0].shape for view in views)
    if keys.dtype.kind != "U" or not are_floats or views[0].ndim != 2 or keys.ndim != 1:
        raise _form_error(path, shapes)
    if len(keys) != len(views[0]) or len(np.unique(keys)) != len(keys):
        raise _form_error(path, f"{shapes}, {len(np.unique(keys))} different keys")
    embeddings = Embeddings(keys.tolist(), np.stack(views, axis=1), {})
    try:
        protocols.check_embeddings(embeddings.views, embeddings.keys)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return embeddings


def _form_error(path: str | os.PathLike, received: Any) -> ValueError:
    return ValueError(
        f"{path} must be an .npz file with `keys` (N,) of text, `embeddings` (N, D) of floats "
        f"and maybe `mirrored` (N, D). Received: {received}"
    )
