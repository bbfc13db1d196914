"""The pair lists of Labeled Faces in the Wild."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np


def identity_of_key(key: str) -> str:
    """The first folder of a key `name/name_0001.jpg`."""
    return key.split("/", 1)[0]


class Pairs(NamedTuple):
    """P pairs of images, by key `name/name_0001.jpg`."""

    first: list[str]
    second: list[str]
    is_same: np.ndarray  # (P,) bool
    folds: np.ndarray  # (P,) int, counted from 1 as LFW does
    lines: np.ndarray | None = None  # (P,) int, where each stands in its file, from 1

    def select(self, chosen: np.ndarray) -> "Pairs":
        """The pairs where the boolean array `chosen` (P,) is true."""
        return Pairs(
            [key for key, keep in zip(self.first, chosen, strict=True) if keep],
            [key for key, keep in zip(self.second, chosen, strict=True) if keep],
            self.is_same[chosen],
            self.folds[chosen],
            None if self.lines is None else self.lines[chosen],
        )

    def in_folds(self, folds: Iterable[int]) -> "Pairs":
        """The pairs of these folds, counted from 1; of all folds if none is named.

        Raises:
            ValueError: if there is no such fold.
        """
        there, wanted = set(self.folds.tolist()), set(folds)
        if not wanted <= there:
            raise ValueError(
                f"Folds must be among {sorted(there)}. Received: {sorted(wanted - there)}"
            )
        return self.select(np.isin(self.folds, sorted(wanted or there)))

    def keys(self) -> list[str]:
        """The keys of all images, each once, sorted."""
        return sorted({*self.first, *self.second})

    def identities(self) -> set[str]:
        """The names of everyone in a pair."""
        return {identity_of_key(key) for key in (*self.first, *self.second)}


def read_pairs(path: str | os.PathLike) -> Pairs:
    """Read LFW's pairs.txt: a header `folds<TAB>n`, then per fold n matched pairs
    `name i j` and n mismatched pairs `name1 i name2 j`, numbered from 1, tab separated.

    Raises:
        ValueError: naming file and line, if the file has another form.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text. Received: {error}") from error

    def fail(number, expected):
        received = repr(lines[number - 1]) if number <= len(lines) else "the end of the file"
        raise ValueError(f"{path}, line {number}: expected {expected}. Received: {received}")

    def key(number, name, index):
        if not (name and _is_count(index)):
            fail(number, "names and image numbers from 1, separated by tabs")
        return f"{name}/{name}_{int(index):04d}.jpg"

    header = lines[0].split() if lines else []
    if len(header) != 2 or not all(map(_is_count, header)):
        fail(1, "a header `folds<TAB>pairs per class and fold`")
    num_folds, per_class = map(int, header)
    first, second, is_same, folds = [], [], [], []
    for number in range(2, 2 + 2 * num_folds * per_class):
        if number > len(lines):
            fail(number, f"{2 * num_folds * per_class} lines of pairs")
        fold, place = divmod(number - 2, 2 * per_class)
        matched = place < per_class
        fields = lines[number - 1].strip().split("\t")
        if len(fields) != (3 if matched else 4):
            fail(number, "`name i j`" if matched else "`name1 i name2 j`")
        if not matched and fields[0] == fields[2]:
            fail(number, "two people in a mismatched pair")
        first.append(key(number, *fields[:2]))
        second.append(key(number, *((fields[0], fields[2]) if matched else fields[2:])))
        is_same.append(matched)
        folds.append(fold + 1)
    if any(line.strip() for line in lines[1 + len(first) :]):
        fail(2 + len(first), f"the end of the file after {len(first)} pairs")
    lines_of = np.arange(2, 2 + len(first))
    return Pairs(first, second, np.array(is_same), np.array(folds), lines_of)


def _is_count(word):
    # `isdigit` takes digits that `int` does not, and `int` no more than 4,300 of them.
    return re.fullmatch("[0-9]{1,9}", word) is not None and int(word) >= 1


def write_pairs(path: str | os.PathLike, pairs: Pairs) -> None:
    """Write `pairs` as LFW's pairs.txt; every fold holds as many matched as mismatched."""
    folds = np.unique(pairs.folds)
    per_class = len(pairs.first) // (2 * len(folds))
    lines = [f"{len(folds)}\t{per_class}"]
    for first, second, matched in zip(pairs.first, pairs.second, pairs.is_same, strict=True):
        (name, i), (other, j) = (_name_and_index(key) for key in (first, second))
        lines.append(f"{name}\t{i}\t{j}" if matched else f"{name}\t{i}\t{other}\t{j}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _name_and_index(key):
    name, file = key.split("/")
    return name, int(file.removeprefix(f"{name}_").split(".")[0])
