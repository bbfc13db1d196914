"""Embeddings by key: computed once an image, kept in `.npz` files, averaged to templates."""

import collections
import itertools
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.evaluation.face_pairs import Load, MissingFaceError
from keras_sphereface.metrics import protocols, templates
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import progress_bar

NO_EMBEDDING = "no embedding"
_BATCHES_AHEAD = 2


class Embeddings(NamedTuple):
    """Embeddings of N images or templates.

    Attributes:
        keys: N of them.
        views: (N, V, D): of the image and, V = 2, of its mirror image.
        missing: {key: reason} of others.
    """

    keys: list[str]
    views: np.ndarray
    missing: dict[str, str]

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """The rows of these keys, which must be among those that are there."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        return np.array([row_of[key] for key in keys], np.int64)

    @property
    def features(self) -> np.ndarray:
        """(N, V D): the views joined."""
        return self.views.reshape(len(self.views), -1)


def load_faces(
    keys: Iterable[str], load: Load, missing: dict[str, str], ahead: int = 64
) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and their faces, in order; those that are not to be had go to `missing` with the reason.

    As many threads as there are cores work `ahead` of what is asked for.
    """
    remaining = iter(keys)
    with ThreadPoolExecutor(os.cpu_count()) as threads:

        def submit(count):
            for key in itertools.islice(remaining, count):
                waiting.append((key, threads.submit(load, key)))

        waiting: collections.deque = collections.deque()
        submit(ahead)
        try:
            while waiting:
                key, face = waiting.popleft()
                try:
                    found = face.result()
                except MissingFaceError as error:
                    missing[key] = str(error)
                    continue
                finally:
                    submit(1)
                yield key, found
        finally:
            for _, face in waiting:
                face.cancel()


def embed(
    keys: Sequence[str],
    load: Load,
    both_views: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
) -> Embeddings:
    """Embed each face once, whatever the number of its pairs, while the next are decoded.

    Args:
        keys: of the images.
        load: key -> uint8 (H, W, 3).
        both_views: uint8 (n, H, W, 3) -> (n, 2 D), the embeddings joined with those of the
            mirror images.
        batch_size: images embedded at once.

    Raises:
        ValueError: naming the image, if an embedding is not finite, or zero.
    """
    missing: dict[str, str] = {}
    found: list[str] = []
    views = np.zeros((0, 2, 0), np.float32)
    with progress_bar(total=len(keys), unit="image", desc="embedding") as bar:
        faces = load_faces(keys, load, missing, _BATCHES_AHEAD * batch_size)
        while batch := list(itertools.islice(faces, batch_size)):
            names, images = zip(*batch, strict=True)
            of_batch = both_views(np.stack(images)).reshape(len(images), 2, -1)
            protocols.check_embeddings(of_batch, names)
            if not found:  # in one piece: a million take gigabytes, and twice that to join
                views = np.empty((len(keys), *of_batch.shape[1:]), of_batch.dtype)
            views[len(found) : len(found) + len(names)] = of_batch
            found += names
            bar.update(len(found) + len(missing) - bar.n)
        bar.update(len(keys) - bar.n)  # those missing at the end
    return Embeddings(found, views[: len(found)], missing)


def select(embeddings: Embeddings, keys: Sequence[str]) -> Embeddings:
    """Those of `keys`; the keys that are not there are missing."""
    there = set(embeddings.keys)
    kept = [key for key in keys if key in there]
    missing = {key: embeddings.missing.get(key, NO_EMBEDDING) for key in keys if key not in there}
    return Embeddings(kept, embeddings.views[embeddings.rows(kept)], missing)


def joined(first: Embeddings, second: Embeddings) -> Embeddings:
    """All of both; what neither has is missing."""
    keys = [*first.keys, *second.keys]
    views = np.concatenate([part.views for part in (first, second) if part.keys] or [first.views])
    there = set(keys)
    missing = {**first.missing, **second.missing}
    return Embeddings(keys, views, {k: why for k, why in missing.items() if k not in there})


def of_templates(
    embeddings: Embeddings, images: Mapping[str, Sequence[tuple[str, str]]]
) -> Embeddings:
    """The mean embeddings of templates.

    Args:
        embeddings: of images.
        images: {template: [(key, medium)]}; images that are missing are left out, and a
            template without any is missing.
    """
    there = set(embeddings.keys)
    entries = [(name, key, m) for name, of in images.items() for key, m in of if key in there]
    kept = {name for name, _, _ in entries}
    missing = {name: "none of its images" for name in images if name not in kept}
    if not entries:
        return Embeddings([], embeddings.views[:0], missing)
    names, keys, media = (np.array(column) for column in zip(*entries, strict=True))
    features = embeddings.features[embeddings.rows(keys)]
    found, means = templates.template_means(features, names, media)
    views = means.reshape(len(means), *embeddings.views.shape[1:])
    return Embeddings([str(name) for name in found], views, missing)


def save(embeddings: Embeddings, path: str | os.PathLike) -> None:
    """Write an `.npz` file: `keys` (N,), `embeddings` (N, D) and, if known, `mirrored` (N, D)."""
    arrays = dict(
        zip(("embeddings", "mirrored"), np.moveaxis(embeddings.views, 1, 0), strict=False)
    )
    with atomic_file(Path(path)) as partial, open(partial, "wb") as file:
        np.savez(file, keys=np.array(embeddings.keys, dtype=str), **arrays)


def load(path: str | os.PathLike) -> Embeddings:
    """Read what `save` wrote, or another system in the same form.

    Raises:
        ValueError: naming the file, if it has another form, a key twice, or an embedding that is
            zero or not finite.
    """

    def fail(received):
        raise ValueError(
            f"{path} must be an .npz file with `keys` (N,) of text, `embeddings` (N, D) of floats "
            f"and maybe `mirrored` (N, D). Received: {received}"
        )

    with open(path, "rb") as stream:
        if not zipfile.is_zipfile(stream):
            fail("a file of another kind")
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: np.asanyarray(file[name]) for name in file.files}
        # A damaged archive raises almost anything; none of it tells a user more than this.
        except Exception as error:
            fail(error)
    shapes = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
    if not {"keys", "embeddings"} <= set(arrays):
        fail(shapes)
    keys, views = arrays["keys"], [arrays["embeddings"]]
    views += [arrays["mirrored"]] if "mirrored" in arrays else []
    of_numbers = all(view.dtype.kind == "f" and view.shape == views[0].shape for view in views)
    if keys.dtype.kind != "U" or not of_numbers or views[0].ndim != 2 or keys.ndim != 1:
        fail(shapes)
    if len(keys) != len(views[0]) or len(np.unique(keys)) != len(keys):
        fail(f"{shapes}, {len(np.unique(keys))} different keys")
    embeddings = Embeddings(keys.tolist(), np.stack(views, axis=1), {})
    try:
        protocols.check_embeddings(embeddings.views, embeddings.keys)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return embeddings
