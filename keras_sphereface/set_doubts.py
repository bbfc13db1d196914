"""What looks wrong with a set of pairs, in sentences, and which pairs it concerns."""

import csv
import os
from collections.abc import Iterable

import numpy as np

from keras_sphereface import doubts, lfw, records
from keras_sphereface.face_sets import NO_LANDMARKS, Faces, MissingFace, person_of

SAMPLE = 64  # pictures that are looked at


def picture_doubts(faces: Faces, keys: list[str], rng: np.random.Generator) -> list[str]:
    """What a sample of the pictures shows: unaligned, aligned twice, BGR, grey."""
    sample = [keys[i] for i in np.sort(rng.permutation(len(keys))[:SAMPLE])]
    loaded, cropped = [], []
    for key in sample:
        try:
            loaded.append(faces.load(key))
        except MissingFace:
            continue
        if faces.crop is not None:
            cropped.append(faces.crop(key))
    return doubts.input_doubts(loaded, cropped if faces.crop is not None else None)


def missing_doubts(missing: dict[str, str], num_left_out: int, num_pairs: int) -> list[str]:
    """How many pairs the missing faces cost, and why they are missing."""
    if not num_left_out:
        return []
    reasons: dict[str, int] = {}
    for reason in missing.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    told = "; ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    first = next(iter(missing))
    return [
        f"{num_left_out} of {num_pairs} pairs are left out, because {len(missing)} pictures are "
        f"missing ({told}; for example {first}). The numbers are of the other pairs."
    ]


def without_landmarks(missing: dict[str, str]) -> list[str]:
    """The keys of pictures that are there, but have no landmarks."""
    return [key for key, reason in missing.items() if reason == NO_LANDMARKS]


def repeated_pairs(pairs: lfw.Pairs) -> np.ndarray:
    """(P,) bool: the pair was there before, in this order of its pictures or the other."""
    seen: set[tuple[str, ...]] = set()
    repeated = np.zeros(len(pairs.first), bool)
    for index, both in enumerate(zip(pairs.first, pairs.second, strict=True)):
        key = tuple(sorted(both))
        repeated[index] = key in seen
        seen.add(key)
    return repeated


def check_contradictions(pairs: lfw.Pairs, file: str) -> None:
    """Refuse pairs that are matched at one place of `file` and mismatched at another.

    Raises:
        ValueError: naming the file and both lines of the first.
    """
    seen: dict[tuple[str, ...], int] = {}
    for index, both in enumerate(zip(pairs.first, pairs.second, strict=True)):
        before = seen.setdefault(tuple(sorted(both)), index)
        if pairs.is_same[before] != pairs.is_same[index]:
            lines = np.arange(len(pairs.first)) if pairs.lines is None else pairs.lines
            raise ValueError(
                f"{file}, line {lines[index]}: a pair must be either matched or mismatched. "
                f"Received: {' and '.join(both)}, which line {lines[before]} has otherwise"
            )


def pair_doubts(pairs: lfw.Pairs) -> list[str]:
    """Repeated pairs, and pictures paired with themselves."""
    found = []
    if repeated := int(repeated_pairs(pairs).sum()):
        found.append(f"{repeated} pairs are there more than once, and count as often.")
    own = sum(a == b for a, b in zip(pairs.first, pairs.second, strict=True))
    if own:
        found.append(f"{own} pairs are of a picture with itself, which every model tells rightly.")
    return found


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
    return np.array([person_of(a) in known or person_of(b) in known for a, b in both], bool)


def shared_doubts(pairs: lfw.Pairs, people: set[str]) -> list[str]:
    """How many people of the pairs are among those of the training."""
    shared = sorted(pairs.people() & people)
    if not shared:
        return []
    concerned = int(with_people(pairs, shared).sum())
    named = ", ".join(shared[:3])
    return [
        f"{len(shared)} people of these pairs are in the training set too, for example {named}: "
        f"{concerned} of {len(pairs.first)} pairs are not a test for people never seen."
    ]
