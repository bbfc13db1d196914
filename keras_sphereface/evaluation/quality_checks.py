"""What looks wrong with a set of pairs, in sentences, and which pairs it concerns."""

import collections
import csv
import os
from collections.abc import Iterable, Mapping

import numpy as np

from keras_sphereface.data import quality_checks, records
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.face_pairs import NO_LANDMARKS, Faces, MissingFaceError

SAMPLE = 64  # images that are looked at
CONTRARY_SHARE = 0.1  # of more pairs the folders are no names of people


def image_doubts(faces: Faces, keys: list[str], rng: np.random.Generator) -> list[str]:
    """What a sample of the images shows: unaligned, aligned twice, BGR, gray."""
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


def missing_doubts(
    images: dict[str, str], templates: dict[str, str], num_left_out: int, num_pairs: int
) -> list[str]:
    """Which faces are missing and why, and how many pairs they cost.

    Args:
        images: {key: reason}.
        templates: {name: reason} of templates without any image.
        num_left_out: of the pairs.
        num_pairs: all.
    """
    found = [
        f"Missing {what}: {told_reasons(missing)}."
        for what, missing in (("images", images), ("templates", templates))
        if missing
    ]
    if num_left_out:
        found.append(
            f"{num_left_out} of {num_pairs} pairs are left out for it. The numbers are of the "
            "other pairs."
        )
    return [" ".join(found)] if found else []


def told_reasons(missing: Mapping[str, str]) -> str:
    """How many are missing for each reason, with an example; {key: reason}, not empty."""
    counts = sorted(collections.Counter(missing.values()).items())
    told = "; ".join(f"{count} {reason}" for reason, count in counts)
    return f"{told}; for example {next(iter(missing))}"


def without_landmarks(missing: dict[str, str]) -> list[str]:
    """The keys of images that are there, but have no landmarks."""
    return [key for key, reason in missing.items() if reason == NO_LANDMARKS]


def repeated_pairs(pairs: lfw.Pairs) -> np.ndarray:
    """(P,) bool: the pair was there before, in this order of its images or the other."""
    return _first_places(pairs) != np.arange(len(pairs.first))


def check_contradictions(pairs: lfw.Pairs, file: str) -> None:
    """Refuse pairs that are matched at one place of `file` and mismatched at another.

    Raises:
        ValueError: naming the file and both lines of the first.
    """
    before = _first_places(pairs)
    contrary = np.flatnonzero(pairs.is_same != pairs.is_same[before])
    if len(contrary):
        here = contrary[0]
        place, numbers = "line", pairs.lines
        if numbers is None:  # a set without lines
            place, numbers = "pair", 1 + np.arange(len(before))
        raise ValueError(
            f"{file}, {place} {numbers[here]}: a pair must be either matched or mismatched. "
            f"Received: {pairs.first[here]} and {pairs.second[here]}, which {place} "
            f"{numbers[before[here]]} has otherwise"
        )


def _first_places(pairs):
    """(P,) where each pair is for the first time, in this order of its images or the other."""
    # Lists of IJB have 15 million pairs: as numbers they take seconds.
    number_of = {key: number for number, key in enumerate(pairs.keys())}
    sides = [np.fromiter(map(number_of.__getitem__, side), np.int64) for side in pairs[:2]]
    low, high = np.sort(sides, axis=0)
    codes = low * len(number_of) + high
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first[inverse]


def pair_doubts(pairs: lfw.Pairs) -> list[str]:
    """Repeated pairs, and images paired with themselves."""
    found = []
    if repeated := int(repeated_pairs(pairs).sum()):
        found.append(f"Repeated pairs: {repeated}. Each counts as often as it is there.")
    own = sum(a == b for a, b in zip(pairs.first, pairs.second, strict=True))
    if own:
        found.append(f"Pairs of an image with itself: {own}. Every model tells them rightly.")
    return found


def name_doubts(pairs: lfw.Pairs, are_templates: bool) -> list[str]:
    """Pairs whose folders say something else than the list, where nearly all agree with it."""
    both = zip(pairs.first, pairs.second, pairs.is_same, strict=True)
    contrary = [i for i, (a, b, same) in enumerate(both) if (identity_of_key(a) == identity_of_key(b)) != same]
    if are_templates or not 0 < len(contrary) <= CONTRARY_SHARE * len(pairs.first):
        return []
    first = f"{pairs.first[contrary[0]]} and {pairs.second[contrary[0]]}"
    return [
        f"Pairs that the folders of images contradict: {len(contrary)}, for example {first}. "
        "Folders are not taken for people here."
    ]


def read_people(path: str | os.PathLike) -> set[str]:
    """The identities of a `labels.csv` beside records.

    Raises:
        ValueError: if the file has no such column.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if "identity" not in (rows.fieldnames or ()):
                raise ValueError(
                    f"{path} must be a {records.LABELS_FILE} with the columns "
                    f"{', '.join(records.LABELS_HEADER)}. Received: {rows.fieldnames}"
                )
            # A row that is cut off names nobody.
            return {name for row in rows if (name := row["identity"])}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a {records.LABELS_FILE}. Received: {error}") from error


def with_people(pairs: lfw.Pairs, people: Iterable[str]) -> np.ndarray:
    """(P,) bool: one of these people is in the pair."""
    known = set(people)
    both = zip(pairs.first, pairs.second, strict=True)
    return np.array([identity_of_key(a) in known or identity_of_key(b) in known for a, b in both], bool)


def shared_doubts(pairs: lfw.Pairs, people: set[str]) -> list[str]:
    """How many people of the pairs are among those of the training."""
    shared = sorted(pairs.identities() & people)
    if not shared:
        return []
    concerned = int(with_people(pairs, shared).sum())
    named = ", ".join(shared[:3])
    return [
        f"People who are in the training set too: {len(shared)}, for example {named}. "
        f"{concerned} of {len(pairs.first)} pairs are no test for people never seen."
    ]
