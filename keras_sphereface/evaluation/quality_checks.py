"""Quality checks of a set of pairs: warnings in sentences, and which pairs they concern."""

import collections
import csv
import os
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from keras_sphereface.data import quality_checks, records
from keras_sphereface.data.keys import names_in_both
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.faces import NO_LANDMARKS, Faces, MissingFaceError
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.utils.text import counted

SAMPLE = 64  # images that are checked
EMBEDDING_SAMPLE = 1000  # embeddings that are compared
EQUAL_DIRECTIONS = 1e-4  # largest difference of a number of unit vectors that are taken as equal
CONTRADICTING_SHARE = 0.1  # where more pairs contradict their folders, these name no identities


def dataset_warnings(
    dataset: PairDataset,
    missing_images: Mapping[str, str],
    missing_templates: Mapping[str, str],
    num_left_out: int,
    training_identities: set[str],
) -> list[str]:
    """Check the pairs: missing faces, repetitions, contradictions, identity overlap.

    Args:
        dataset: Pairs of images or templates.
        missing_images: {key: reason}.
        missing_templates: {name: reason} of templates without any image.
        num_left_out: Int. Number of pairs that are left out.
        training_identities: Identities of the training set; empty if unknown.
    """
    pairs, are_templates = dataset.pairs, bool(dataset.templates)
    return [
        *missing_face_warnings(missing_images, missing_templates, num_left_out, len(pairs.first)),
        *repeated_pair_warnings(pairs),
        *folder_warnings(pairs, are_templates),
        *identity_overlap_warnings(pairs, training_identities, dataset.has_names),
    ]


def image_warnings(faces: Faces, keys: list[str], rng: np.random.Generator) -> list[str]:
    """Check a sample of the images: unaligned, aligned twice, BGR, gray.

    Args:
        faces: Loaders of the faces.
        keys: Keys of the images.
        rng: Generator that draws the sample.
    """
    sample = [keys[i] for i in np.sort(rng.permutation(len(keys))[:SAMPLE])]
    loaded, cropped = [], []
    for key in sample:
        try:
            loaded.append(faces.load(key))
        except MissingFaceError:
            continue
        if faces.crop is not None:
            cropped.append(faces.crop(key))
    return quality_checks.check_images(loaded, cropped if faces.crop is not None else None)


def embedding_warnings(views: np.ndarray) -> list[str]:
    """Check whether the embeddings of a sample of the images are one and the same direction.

    Args:
        views: (N, V, D) embeddings of N images.
    """
    rows = np.linspace(0, len(views) - 1, min(len(views), EMBEDDING_SAMPLE)).astype(np.int64)
    directions = normalize_rows(views[rows, 0])
    if len(rows) < 2 or np.ptp(directions, axis=0).max() > EQUAL_DIRECTIONS:
        return []
    return [
        f"The embeddings of {len(rows)} different images are equal: the network does not tell "
        "faces apart. Was it exported for other pixels than it was trained on, or has its training "
        "collapsed?"
    ]


def missing_face_warnings(
    images: Mapping[str, str], templates: Mapping[str, str], num_left_out: int, num_pairs: int
) -> list[str]:
    """Count the missing faces by reason, and the pairs that are left out for them.

    Args:
        images: {key: reason} of missing images.
        templates: {name: reason} of templates without any image.
        num_left_out: Int. Number of pairs that are left out.
        num_pairs: Int. Number of all pairs.
    """
    sentences = [
        f"Missing {kind}: {describe_reasons(missing)}."
        for kind, missing in (("images", images), ("templates", templates))
        if missing
    ]
    if num_left_out:
        sentences.append(
            f"Left out: {num_left_out:,} of {counted(num_pairs, 'pair')}. All numbers are of the "
            "others."
        )
    return [" ".join(sentences)] if sentences else []


def describe_reasons(missing: Mapping[str, str]) -> str:
    """Return the count of each reason with an example; {key: reason}, not empty."""
    counts = sorted(collections.Counter(missing.values()).items())
    first = {reason: key for key, reason in reversed(list(missing.items()))}
    return "; ".join(f"{count} {reason}, for example {first[reason]}" for reason, count in counts)


def without_landmarks(missing: Mapping[str, str]) -> list[str]:
    """Return the keys of images that exist, but have no landmarks."""
    return [key for key, reason in missing.items() if reason == NO_LANDMARKS]


def repeated_pairs(pairs: lfw.Pairs) -> np.ndarray:
    """Return which pairs repeat an earlier one, in either order of their images, (P,) bool."""
    return _first_places(pairs) != np.arange(len(pairs.first))


def check_contradictions(pairs: lfw.Pairs, file: str) -> None:
    """Refuse pairs that are matched in one line of `file` and mismatched in another.

    Raises:
        ValueError: If there are such, with the file and both lines of the first.
    """
    earlier = _first_places(pairs)
    contradicting = np.flatnonzero(pairs.is_same != pairs.is_same[earlier])
    if len(contradicting):
        index = contradicting[0]
        place, numbers = "line", pairs.lines
        if numbers is None:  # a .bin has no lines
            place, numbers = "pair", 1 + np.arange(len(earlier))
        raise ValueError(
            f"{file}, {place} {numbers[index]}: a pair must be either matched or mismatched. "
            f"Received: {pairs.first[index]} and {pairs.second[index]}, the other kind in {place} "
            f"{numbers[earlier[index]]}"
        )


def _first_places(pairs: lfw.Pairs) -> np.ndarray:
    """Return where each pair stands for the first time, in either order of its images, (P,)."""
    # Lists of IJB have 15 million pairs: as numbers they take seconds.
    numbers, keys = pd.factorize(np.array([*pairs.first, *pairs.second], dtype=object))
    low, high = np.sort(numbers.reshape(2, -1), axis=0)
    codes = low * len(keys) + high
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first[inverse]


def repeated_pair_warnings(pairs: lfw.Pairs) -> list[str]:
    """Count repeated pairs, and images paired with themselves."""
    warnings = []
    if repeated := int(repeated_pairs(pairs).sum()):
        warnings.append(f"Repeated pairs: {repeated}. Each counts as often as it is listed.")
    same_image = sum(a == b for a, b in zip(pairs.first, pairs.second, strict=True))
    if same_image:
        warnings.append(
            f"Pairs of an image with itself: {same_image}. Every model classifies them correctly."
        )
    return warnings


def folder_warnings(pairs: lfw.Pairs, are_templates: bool) -> list[str]:
    """Count pairs that contradict the folders of their images, where nearly all agree."""
    both = zip(pairs.first, pairs.second, pairs.is_same, strict=True)
    contradicting = [
        i
        for i, (a, b, same) in enumerate(both)
        if (identity_of_key(a) == identity_of_key(b)) != same
    ]
    if are_templates or not 0 < len(contradicting) <= CONTRADICTING_SHARE * len(pairs.first):
        return []
    first = f"{pairs.first[contradicting[0]]} and {pairs.second[contradicting[0]]}"
    return [
        f"Pairs that contradict the folders of their images: {len(contradicting)}, for example "
        f"{first}. Folders are not taken for identities."
    ]


def read_training_identities(path: str | os.PathLike) -> set[str]:
    """Read the identities of the `labels.csv` of training records.

    Raises:
        ValueError: If the file has no column `identity`.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if "identity" not in (rows.fieldnames or ()):
                raise ValueError(
                    f"{path} must be a {records.LABELS_FILE} with the columns "
                    f"{', '.join(records.LABELS_HEADER)}. Received: {rows.fieldnames}"
                )
            # A row that is cut off names no identity.
            return {name for row in rows if (name := row["identity"])}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a {records.LABELS_FILE}. Received: {error}") from error


def contains_identity(pairs: lfw.Pairs, identities: Iterable[str]) -> np.ndarray:
    """Return which pairs contain one of these identities, (P,) bool."""
    wanted = names_in_both(pairs.identities(), identities)
    both = zip(pairs.first, pairs.second, strict=True)
    return np.array(
        [identity_of_key(a) in wanted or identity_of_key(b) in wanted for a, b in both], bool
    )


def trained_calibration_warnings(pairs: lfw.Pairs, training_identities: set[str]) -> list[str]:
    """Count the pairs that are calibrated on although the network was trained on an identity.

    Args:
        pairs: Pairs that are calibrated on.
        training_identities: Identities of the training set; empty if unknown.
    """
    trained = int(contains_identity(pairs, training_identities).sum())
    if not trained:
        return []
    return [
        f"Calibrated on identities of the training set: {trained} of "
        f"{counted(len(pairs.first), 'pair')}. A network scores these better than others, so "
        "thresholds and log-likelihood ratios promise too much; calibrate on folds without them."
    ]


def identity_overlap_warnings(
    pairs: lfw.Pairs, training_identities: set[str], has_names: bool = True
) -> list[str]:
    """Count the identities of the pairs that are in the training set too.

    Args:
        pairs: Pairs of images.
        training_identities: Identities of the training set; empty if unknown.
        has_names: Bool. Whether keys name the identity; if not, the overlap is unknown.
    """
    if training_identities and not has_names:
        return [
            "The identity overlap with the training set is unknown: the keys of these pairs do "
            "not name identities."
        ]
    shared = sorted(names_in_both(pairs.identities(), training_identities))
    if not shared:
        return []
    num_pairs = int(contains_identity(pairs, shared).sum())
    return [
        f"Identity overlap with the training set: {len(shared)}, for example "
        f"{', '.join(shared[:3])}. {num_pairs:,} of {counted(len(pairs.first), 'pair')} "
        f"{'does' if num_pairs == 1 else 'do'} not test identities that the network never saw."
    ]
