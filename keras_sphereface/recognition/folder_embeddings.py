"""All images of a folder embedded, as a file that galleries and evaluations read."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.recognition.face_finder import FaceFinder
from keras_sphereface.recognition.face_recognizer import BATCH_SIZE
from keras_sphereface.recognition.faces import Face
from keras_sphereface.recognition.input_images import DoubtfulImageError
from keras_sphereface.recognition.parquet_file import write_parquet
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.text import counted


@dataclasses.dataclass(frozen=True)
class FolderEmbeddings:
    """Embeddings of the images of a folder.

    Attributes:
        keys: N paths below the folder, with slashes.
        views: float32 (N, V, D), of the image and, V = 2, of its mirror image.
        refused: {key: reason} of images without an embedding.
    """

    keys: list[str]
    views: np.ndarray
    refused: dict[str, str]


def embed_folder(
    finder: FaceFinder,
    folder: str | os.PathLike,
    keys: Sequence[str],
    batch_size: int = BATCH_SIZE,
) -> FolderEmbeddings:
    """Embed images of a folder; doubtful ones are left out with their reason.

    Args:
        finder: The recognizer with the choice of the face, whose names are the keys.
        folder: The folder.
        keys: Paths of the images below it.
        batch_size: Int >= 1. Faces embedded at once.

    Raises:
        ValueError: If no image has a face.
    """
    root = Path(folder)
    refused: dict[str, str] = {}
    embedded: list[str] = []
    views: list[np.ndarray] = []
    batch: dict[str, Face] = {}

    def embed_batch() -> None:
        batch_views, poor = finder.views_of(batch)
        kept = [key for key in batch if key not in poor]
        refused.update(poor)
        embedded.extend(kept)
        views.append(batch_views[[key in kept for key in batch]])
        batch.clear()

    with progress_bar(keys, desc="embedding", unit="image") as bar:
        for key in bar:
            try:
                batch[key] = finder.face(root / key, key)
            except DoubtfulImageError as error:
                refused[key] = error.reason
            if len(batch) == batch_size:
                embed_batch()
        if batch:
            embed_batch()
    if not embedded:
        raise ValueError(
            f"An image with a face is needed. Received: {folder} with "
            f"{counted(len(keys), 'image')}, all refused, the first, {keys[0]}: "
            f"{refused[keys[0]]}"
        )
    return FolderEmbeddings(embedded, np.concatenate(views), refused)


def write_embeddings(
    embeddings: FolderEmbeddings, path: str | os.PathLike, fingerprint: str
) -> None:
    """Write embeddings with the `fingerprint` of the model; the file appears whole or not at all.

    Args:
        embeddings: The embeddings.
        path: Path ending in .npz: `keys`, `embeddings`, maybe `mirrored`, and `fingerprint`. Or in
            .parquet, which needs the extra `parquet`: a row an image, its `key`, its `embedding`
            joined with that of the mirror image, and `norm`, |x| of the image alone.
        fingerprint: Fingerprint of the model.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    views = embeddings.views
    with atomic_file(target) as partial:
        if target.suffix == ".parquet":
            norms = np.linalg.norm(views[:, 0].astype(np.float64), axis=1)
            rows = list(views.reshape(len(views), -1))
            write_parquet(partial, embeddings.keys, rows, fingerprint, norm=norms)
            return
        arrays = dict(zip(("embeddings", "mirrored"), np.moveaxis(views, 1, 0), strict=False))
        with open(partial, "wb") as file:
            np.savez(
                file, keys=np.array(embeddings.keys), fingerprint=np.array(fingerprint), **arrays
            )
