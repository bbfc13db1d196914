"""The pair lists of Labeled Faces in the Wild."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from keras_sphereface.data.filenames import is_image_name, without_image_suffix
from keras_sphereface.utils.text import counted, encoding_of


def identity_of_key(key: str) -> str:
    """Return the identity in a key `name/name_0001.jpg`: its first folder.

    Without a folder it is the name before the number, as in CALFW's and CPLFW's `name_0001.jpg`;
    a name without number and suffix, of a template for example, is the identity itself.

    Example:

    >>> identity_of_key("Ann/Ann_0001.jpg"), identity_of_key("Ann_0001.jpg")
    ('Ann', 'Ann')
    """
    name, slash, _ = key.partition("/")
    if slash or not is_image_name(name):
        return name
    match = re.fullmatch("(.+)_[0-9]{1,4}", without_image_suffix(name))
    return match[1] if match else name


class Pairs(NamedTuple):
    """P pairs of images, by key `name/name_0001.jpg`.

    Attributes:
        first, second: Keys of the images of each pair.
        is_same: (P,) bool. Whether both images are of one identity.
        folds: (P,) int. Fold of each pair, from 1 as in LFW.
        lines: (P,) int. Line of each pair in its file, from 1; None without a file.

    Example:

    >>> pairs = read_pairs("faces/pairs.txt")
    >>> len(pairs.first), len(pairs.in_folds([1, 2]).first), sorted(pairs.identities())[0]
    (56, 16, 'person_0006')
    """

    first: list[str]
    second: list[str]
    is_same: np.ndarray
    folds: np.ndarray
    lines: np.ndarray | None = None

    def select(self, mask: np.ndarray) -> "Pairs":
        """Return the pairs where the boolean `mask` (P,) is true."""
        return Pairs(
            [key for key, keep in zip(self.first, mask, strict=True) if keep],
            [key for key, keep in zip(self.second, mask, strict=True) if keep],
            self.is_same[mask],
            self.folds[mask],
            None if self.lines is None else self.lines[mask],
        )

    def in_folds(self, folds: Iterable[int]) -> "Pairs":
        """Return the pairs of these folds, counted from 1; of all folds if none is named.

        Raises:
            ValueError: if a fold does not exist.
        """
        existing, wanted = set(self.folds.tolist()), set(folds)
        if not wanted <= existing:
            raise ValueError(
                f"Folds must be among {sorted(existing)}. Received: {sorted(wanted - existing)}"
            )
        return self.select(np.isin(self.folds, sorted(wanted or existing)))

    def keys(self) -> list[str]:
        """Return the keys of all images, each once, sorted."""
        return sorted({*self.first, *self.second})

    def identities(self) -> set[str]:
        """Return the names of all identities in the pairs."""
        return {identity_of_key(key) for key in (*self.first, *self.second)}

    def share_of_named(self) -> float:
        """Return the share of pairs whose keys name one identity if they match, two if not.

        It is the lower of the shares of matched and of mismatched pairs, since names of templates
        always differ.
        """
        both = zip(self.first, self.second, strict=True)
        named = np.array([identity_of_key(a) == identity_of_key(b) for a, b in both], bool)
        kinds = (named[self.is_same], ~named[~self.is_same])
        return min((float(kind.mean()) for kind in kinds if len(kind)), default=1.0)


def read_pairs(path: str | os.PathLike, num_folds: int = 10) -> Pairs:
    """Read LFW's pairs.txt, or pairsDevTrain.txt and pairsDevTest.txt of its View 1.

    The header is `folds<TAB>n`, in View 1 `n`. Each fold has n matched pairs `name i j`, then n
    mismatched pairs `name1 i name2 j`, with image numbers from 1, separated by tabs or spaces.

    Args:
        path: The file.
        num_folds: Int. Number of folds of View 1, which has none; fewer if n is less.

    Raises:
        ValueError: naming file and line, if the file has another form.

    Reference: Huang et al., "Labeled Faces in the Wild", 2007.

    Example:

    >>> pairs = read_pairs("faces/pairs.txt")
    >>> int(pairs.is_same.sum()), int(pairs.folds.max())
    (28, 7)
    """
    try:
        lines = Path(path).read_text(encoding=encoding_of(path)).splitlines()
    except UnicodeError as error:
        raise ValueError(f"{path} is not UTF-8 text. Received: {error}") from error

    def fail(number: int, expected: str) -> NoReturn:
        received = repr(lines[number - 1]) if number <= len(lines) else "the end of the file"
        raise ValueError(f"{path}, line {number}: expected {expected}. Received: {received}")

    def key(number: int, name: str, index: str) -> str:
        if not (name and is_count(index)):
            fail(number, "names and image numbers from 1, separated by tabs or spaces")
        return key_of(name, index)

    header = lines[0].split() if lines else []
    if len(header) not in (1, 2) or not all(map(is_count, header)):
        fail(1, "a header `folds<TAB>pairs per class and fold`")
    per_class, folds_of_file = int(header[-1]), int(header[0]) if len(header) == 2 else 1
    first, second, is_same, folds = [], [], [], []
    for number in range(2, 2 + 2 * folds_of_file * per_class):
        if number > len(lines):
            fail(number, f"{2 * folds_of_file * per_class} lines of pairs")
        fold, position = divmod(number - 2, 2 * per_class)
        matched = position < per_class
        fields = _fields(lines[number - 1].strip())
        if len(fields) == 2 and is_count(fields[1]):
            fail(
                number,
                "pairs, not the identities of people.txt or peopleDev*.txt, which serve to make "
                "training pairs; evaluation takes pairs.txt or pairsDevTest.txt, in the restricted "
                "and in the unrestricted setting",
            )
        if len(fields) != (3 if matched else 4):
            fail(number, "`name i j`" if matched else "`name1 i name2 j`")
        if not matched and fields[0] == fields[2]:
            fail(number, "two identities in a mismatched pair")
        first.append(key(number, *fields[:2]))
        second.append(key(number, *((fields[0], fields[2]) if matched else fields[2:])))
        is_same.append(matched)
        folds.append(fold + 1)
    if any(line.strip() for line in lines[1 + len(first) :]):
        fail(2 + len(first), f"the end of the file after {counted(len(first), 'pair')}")
    same = np.array(is_same)
    fold_of_pair = np.array(folds) if len(header) == 2 else assign_folds(same, num_folds)
    return Pairs(first, second, same, fold_of_pair, np.arange(2, 2 + len(first)))


def assign_folds(is_same: np.ndarray, num_folds: int) -> np.ndarray:
    """Return (P,) folds from 1, over which the pairs of either kind are spread evenly."""
    kinds = is_same, ~is_same
    num_folds = max(1, min(num_folds, *(int(kind.sum()) for kind in kinds)))
    folds = np.empty(len(is_same), np.int64)
    for kind in kinds:
        count = int(kind.sum())
        folds[kind] = np.arange(count) * num_folds // max(count, 1) + 1
    return folds


def _fields(line: str) -> list[str]:
    """Split an entry at tabs, or at the spaces around its numbers: names may hold spaces."""
    if "\t" in line:
        return [field.strip() for field in line.split("\t")]
    matched = re.fullmatch(r"(.+?) +([0-9]+) +([0-9]+)", line)
    mismatched = re.fullmatch(r"(.+?) +([0-9]+) +(.*[^0-9 ].*?) +([0-9]+)", line)
    has_too_many = bool(matched and re.fullmatch(".* [0-9]+", matched[1]))
    if entry := mismatched or (None if has_too_many else matched):
        return list(entry.groups())
    return line.split()


def key_of(name: str, index: str) -> str:
    """Return the key of the image of this number, from 1, of a name."""
    return f"{name}/{name}_{int(index):04d}.jpg"


def is_count(word: str) -> bool:
    """Return whether a word is a whole number from 1."""
    # `isdigit` takes digits that `int` does not, and `int` no more than 4,300 of them.
    return re.fullmatch("[0-9]{1,9}", word) is not None and int(word) >= 1


def write_pairs(path: str | os.PathLike, pairs: Pairs) -> None:
    """Write `pairs` as LFW's pairs.txt; every fold must hold as many matched as mismatched.

    Example:

    >>> write_pairs("two_folds.txt", read_pairs("faces/pairs.txt").in_folds([1, 2]))
    >>> len(read_pairs("two_folds.txt").first)
    16
    """
    folds = np.unique(pairs.folds)
    per_class = len(pairs.first) // (2 * len(folds))
    lines = [f"{len(folds)}\t{per_class}"]
    for first, second, matched in zip(pairs.first, pairs.second, pairs.is_same, strict=True):
        (name, i), (other, j) = (_name_and_index(key) for key in (first, second))
        lines.append(f"{name}\t{i}\t{j}" if matched else f"{name}\t{i}\t{other}\t{j}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _name_and_index(key: str) -> tuple[str, int]:
    name, file = key.split("/")
    return name, int(file.removeprefix(f"{name}_").split(".")[0])
