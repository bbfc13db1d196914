"""The quality of the faces of a conversion: one table, from what the manifest keeps of each."""

import collections
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from keras_sphereface.data import face_measures, near_duplicates
from keras_sphereface.data.conversion.steps import SAME_IDENTITY, SEVERAL_IDENTITIES, Duplicate
from keras_sphereface.data.records import QualityRow
from keras_sphereface.utils.progress import stage

MAX_EXAMPLES = 12
SINGLE = "identities with one image"


class Quality(NamedTuple):
    """What was found in the faces of a conversion.

    Attributes:
        rows: List of QualityRow, one for each check.
        near_duplicates: List of Duplicate, group by group; None: they were not looked for.
    """

    rows: list[QualityRow]
    near_duplicates: list[Duplicate] | None


class MeasuredFaces(Protocol):
    """All faces of a conversion that ended: its manifest, or `CollectedFaces`."""

    @property
    def num_measured(self) -> int: ...

    @property
    def num_hashed(self) -> int: ...

    @property
    def has_detected(self) -> bool: ...

    def count_findings(self, bit: int) -> int: ...

    def keys_with(self, bit: int, limit: int) -> list[str]: ...

    def duplicates(self) -> Iterator[Duplicate]: ...

    def single_images(self, limit: int) -> tuple[int, list[str]]: ...

    def hashes(self) -> tuple[np.ndarray, np.ndarray]: ...

    def names_at(self, positions: Iterable[int]) -> dict[int, tuple[str, str]]: ...


def assess_quality(faces: MeasuredFaces) -> Quality:
    """Count the findings of all faces, and look for duplicates among them."""
    detected = faces.num_measured
    rows = []
    for kind in face_measures.KINDS:
        bit = face_measures.bit_of(kind)
        if kind == face_measures.SEVERAL_FACES and not faces.has_detected:
            rows.append(QualityRow(kind, None, (), "Only --detect counts faces."))
        elif detected:
            count, keys = faces.count_findings(bit), faces.keys_with(bit, MAX_EXAMPLES)
            rows.append(QualityRow(kind, count, tuple(keys)))
        else:
            rows.append(QualityRow(kind, None, (), "No face was measured."))
    rows += _duplicate_rows("exact duplicates", faces.duplicates())
    near = _near_duplicates(faces)
    if near is None:
        note = near_duplicates.NOT_INSTALLED + "."
        if detected and near_duplicates.is_imagehash_installed():
            note = "Some faces were converted without `ImageHash`; convert them again."
        rows += [QualityRow(_name("near duplicates", kind), None, (), note) for kind in _KINDS]
    else:
        rows += _duplicate_rows("near duplicates", near)
    count, keys = faces.single_images(MAX_EXAMPLES)
    rows.append(QualityRow(SINGLE, count, tuple(keys)))
    return Quality(rows, near)


_KINDS = (SEVERAL_IDENTITIES, SAME_IDENTITY)


def _name(check: str, kind: str) -> str:
    return f"{check}, {kind}"


def _duplicate_rows(check: str, duplicates: Iterable[Duplicate]) -> list[QualityRow]:
    """Return a row for duplicates of several identities, and one for those of the same."""
    counts: collections.Counter[str] = collections.Counter()
    examples = collections.defaultdict[str, list[str]](list)
    for _, group in itertools.groupby(duplicates, lambda duplicate: duplicate.group):
        first, *others = group
        kind = first.kind
        counts[kind] += 1 + len(others)
        if len(examples[kind]) < MAX_EXAMPLES:
            # A pair of each group; of two identities where there are two.
            seconds = (o for o in others if kind == SAME_IDENTITY or o.identity != first.identity)
            examples[kind] += [first.key, next(seconds).key]
    return [QualityRow(_name(check, kind), counts[kind], tuple(examples[kind])) for kind in _KINDS]


def _near_duplicates(faces: MeasuredFaces) -> list[Duplicate] | None:
    """Return the faces that look alike, group by group; None if they were not all hashed."""
    if not faces.num_hashed or faces.num_hashed < faces.num_measured:
        return None
    with stage("looking for near duplicates"):
        positions, hashes = faces.hashes()
        groups = near_duplicates.connected_groups(near_duplicates.near_pairs(hashes))
        return list(_described(faces, [positions[group].tolist() for group in groups]))


def _described(faces: MeasuredFaces, groups: list[list[int]]) -> Iterator[Duplicate]:
    names = faces.names_at(itertools.chain.from_iterable(groups))
    # In the order of their keys, which does not depend on the shuffle.
    members = sorted(sorted((names[at] for at in group), key=lambda n: n[0]) for group in groups)
    for number, group in enumerate(members):
        is_same = len({identity for _, identity in group}) == 1
        for key, identity in group:
            yield Duplicate(number, SAME_IDENTITY if is_same else SEVERAL_IDENTITIES, identity, key)
