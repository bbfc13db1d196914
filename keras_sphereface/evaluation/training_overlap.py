"""Overlap of the test images with the training set, found by the images themselves.

Names of identities differ between data sets, so that the same name in both is the least that can be
shared. Near duplicates are found by a perceptual hash, identities by their embeddings.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.data import alignment, face_measures, images, near_duplicates, records
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.calibration import plain_cosines
from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.faces import Faces, MissingFaceError, encoded_faces
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.utils.progress import progress_bar

MAX_EMBEDDED = 2_000  # training identities, of each the first image in the shuffled order
_AT_ONCE = 64  # images
_SHOWN = 3  # examples in a sentence


class TrainingSet(NamedTuple):
    """What is kept of training records to be compared with test images.

    Attributes:
        folder: Path of the records.
        hashes: (N, 32) uint8, of the records in their order; None without `ImageHash`.
        first_images: {identity: encoded image}, of up to `MAX_EMBEDDED` identities.
    """

    folder: Path
    hashes: np.ndarray | None
    first_images: dict[str, bytes]


class TrainingMatch(NamedTuple):
    """A test image and the training record that it looks like."""

    key: str
    training_identity: str
    training_key: str


def read_training_set(folder: str | os.PathLike) -> TrainingSet:
    """Read training records: a hash of each face, and one image of each identity.

    A million records take 32 MB.

    Raises:
        FileNotFoundError, ValueError: If the folder holds no records.
    """
    info = records.read_info(folder)
    bar = progress_bar(
        records.read_folder(folder), total=info.num_images, desc="training records", unit="image"
    )
    can_hash = near_duplicates.is_imagehash_installed()
    reduced = face_measures.thumbnail_size(info.image_size)
    hashes: list[np.ndarray] = []
    first_images: dict[str, bytes] = {}
    remaining = iter(bar)
    while block := list(itertools.islice(remaining, _AT_ONCE)):
        for record in block:
            if len(first_images) < MAX_EMBEDDED:
                first_images.setdefault(record.identity, record.image)
        if can_hash:
            pixels = (images.fit_reduced(r.image, info.image_size, reduced)[1] for r in block)
            hashes.append(_hashes([_thumbnail(each) for each in pixels]))
    return TrainingSet(Path(folder), np.concatenate(hashes) if can_hash else None, first_images)


def duplicate_warnings(training: TrainingSet, faces: Faces, keys: Sequence[str]) -> list[str]:
    """Count the test images that are near duplicates of training records, with examples.

    Args:
        training: Training records.
        faces: Loaders of the test faces, aligned as the training records are.
        keys: Keys of the test images.
    """
    if training.hashes is None:
        return [f"Training images among the test images were not looked for. {_NOT_INSTALLED}"]
    matches = find_duplicates(training, faces, keys)
    if not matches:
        return []
    shown = "; ".join(
        f"{match.key} looks like {match.training_key} of {match.training_identity}"
        for match in matches[:_SHOWN]
    )
    return [
        f"Images of the training set among the test images: {len(matches)} of {len(keys)} look "
        f"like a training record ({shown}). Exclude these identities from the training set."
    ]


_NOT_INSTALLED = near_duplicates.NOT_INSTALLED + "."


def find_duplicates(
    training: TrainingSet, faces: Faces, keys: Sequence[str]
) -> list[TrainingMatch]:
    """Return the test images that look like a training record, each once, in order."""
    if training.hashes is None:
        return []
    loaded, hashes = [], [training.hashes]
    remaining = iter(keys)
    while block := list(itertools.islice(remaining, _AT_ONCE)):
        thumbnails = []
        for key in block:
            try:
                thumbnails.append(_thumbnail(faces.load(key)))
            except MissingFaceError:
                continue
            loaded.append(key)
        if thumbnails:
            hashes.append(_hashes(thumbnails))
    number = len(training.hashes)
    pairs = near_duplicates.near_pairs(np.concatenate(hashes))
    across = pairs[(pairs[:, 0] < number) & (pairs[:, 1] >= number)]
    record_of = {int(test) - number: int(record) for record, test in across[::-1]}
    names = dict(_names_of(training.folder, set(record_of.values())))
    return [
        TrainingMatch(loaded[test], *names[record]) for test, record in sorted(record_of.items())
    ]


def identity_warnings(
    training: TrainingSet, embedder: Embedder, pairs: lfw.Pairs, embeddings: Embeddings
) -> list[str]:
    """Name test images that are more similar to a training identity than any mismatched pair is.

    They are suspects: the network was trained on these identities, and there are more comparisons
    than mismatched pairs.

    Args:
        training: Training records.
        embedder: Network that embeds their images.
        pairs: Complete pairs of the test images.
        embeddings: Embeddings of the test images.
    """
    mismatched = pairs.select(~pairs.is_same)
    if not (training.first_images and embeddings.keys and len(mismatched.first)):
        return []
    size = embedder.image_size or images.IMAGE_SIZE
    load = encoded_faces(training.first_images.__getitem__, size).load
    known = embedder.embed(list(training.first_images), load)
    unit = normalize_rows(known.features.astype(np.float64))
    cosines = normalize_rows(embeddings.features.astype(np.float64)) @ unit.T
    threshold = float(plain_cosines(mismatched, embeddings).max())
    nearest, highest = cosines.argmax(axis=1), cosines.max(axis=1)
    suspects = np.flatnonzero(highest > threshold)
    if not len(suspects):
        return []
    order = suspects[np.argsort(-highest[suspects], kind="stable")]
    shown = "; ".join(
        f"{embeddings.keys[i]} and {known.keys[nearest[i]]} at {highest[i]:.2f}"
        for i in order[:_SHOWN]
    )
    return [
        f"Suspected identity overlap: {len(suspects)} of {len(embeddings.keys)} test images are "
        f"more similar to one of {len(known.keys)} training identities than any mismatched pair "
        f"is, with a cosine above {threshold:.2f} ({shown}). Look at these faces: the same person "
        "may have another name in the training set."
    ]


def _thumbnail(face: np.ndarray) -> np.ndarray:
    """Return the thumbnail of the part that faces of any usual size share, 112 x 96."""
    height, width = face.shape[:2]
    shared = round(height * alignment.TEMPLATE_SIZE[1] / alignment.TEMPLATE_SIZE[0])
    start = max(0, (width - shared) // 2)
    return face_measures.thumbnail(np.ascontiguousarray(face[:, start : start + shared]))


def _hashes(thumbnails: list[np.ndarray]) -> np.ndarray:
    return near_duplicates.face_hashes(np.stack(thumbnails))


def _names_of(folder: Path, numbers: set[int]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield (number, (identity, key)) of these records, which are read anew."""
    if numbers:
        for number, record in enumerate(records.read_folder(folder)):
            if number in numbers:
                yield number, (record.identity, record.key)
