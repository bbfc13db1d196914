"""Lists of pairs: LFW's form, and one with a line `first second is_same [fold]`."""

import os
import re

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.utils import text

_HEADER = ["first", "second", "is_same", "fold"]
_FORM = (
    "`first second 0` or `first second 1`, and maybe a fold from 1, separated by tabs, commas or "
    "spaces"
)


def read_pair_list(path: str | os.PathLike, num_folds: int = 10) -> lfw.Pairs:
    """Read LFW's pairs.txt or a list with a line `first second is_same [fold]` for each pair.

    In a list, `first` and `second` name images, templates of images, or folders of them;
    `is_same` is 1 or 0, as in IJB's lists of template pairs. Tabs, commas or spaces separate;
    names with spaces need tabs or commas. A first line `first second is_same fold` may name the
    columns.

    Args:
        path: The file.
        num_folds: Int. Number of folds where the list has none: the matched pairs and the
            mismatched ones are each cut into so many, in their order; fewer if there are fewer
            pairs of a kind.

    Raises:
        ValueError: naming file and line, if the file has another form, or a fold is empty or has
            one kind of pairs only.

    Example:

    >>> with open("list.txt", "w") as file:
    ...     _ = file.write("ada/1.jpg,ada/2.jpg,1\\nada/1.jpg,bob/1.jpg,0\\n")
    >>> read_pair_list("list.txt").is_same
    array([ True, False])
    """
    start = next(text.numbered_lines(path), (1, ""))[1]
    if not start:
        raise ValueError(
            f"{path}, line 1: expected pairs, as in LFW's pairs.txt or in lines {_FORM}. "
            "Received: an empty file"
        )
    pairs = _read_list(path, num_folds) if _is_list(_fields(start)) else lfw.read_pairs(path)
    _check_folds(path, pairs)
    return pairs


def _is_list(fields: list[str]) -> bool:
    # `Ann 1 3`, without a header above, is an entry of LFW; `1 3 0` one of IJB.
    names = fields[:2]
    looks_like_lfw = names[-1:] and names[-1].isdigit() and not names[0].isdigit()
    return len(fields) > 2 and not looks_like_lfw


def _fields(line: str) -> list[str]:
    for separator in "\t,":
        if separator in line:
            return [field.strip() for field in line.split(separator)]
    return line.split()


def _read_list(path: str | os.PathLike, num_folds: int) -> lfw.Pairs:
    first, second, is_same, lines = [], [], [], []
    folds: list[int] = []
    width = 0
    for number, line in text.numbered_lines(path):
        fields = _fields(line)
        if not width:
            width = len(fields)
            if fields == _HEADER[:width]:
                continue
        fold = fields[3:]
        is_pair = len(fields) in (3, 4) and all(fields) and fields[2] in ("0", "1")
        if not (is_pair and _are_folds(fold)):
            raise ValueError(f"{path}, line {number}: expected {_FORM}. Received: {line!r}")
        if len(fields) != width:
            raise ValueError(
                f"{path}, line {number}: expected {width} fields, as in the first line. "
                f"Received: {line!r}"
            )
        first.append(fields[0].replace("\\", "/"))
        second.append(fields[1].replace("\\", "/"))
        is_same.append(fields[2] == "1")
        folds += map(int, fold)
        lines.append(number)
    matched = np.array(is_same, bool)
    fold_of_pair = np.array(folds) if folds else _assign_folds(matched, num_folds)
    return lfw.Pairs(first, second, matched, fold_of_pair, np.array(lines))


def _are_folds(fields: list[str]) -> bool:
    return all(re.fullmatch("[1-9][0-9]{0,8}", field) for field in fields)


def _assign_folds(is_same: np.ndarray, num_folds: int) -> np.ndarray:
    """Return (P,) folds from 1, over which the pairs of either kind are spread evenly."""
    kinds = is_same, ~is_same
    num_folds = max(1, min(num_folds, *(int(kind.sum()) for kind in kinds)))
    folds = np.empty(len(is_same), np.int64)
    for kind in kinds:
        count = int(kind.sum())
        folds[kind] = np.arange(count) * num_folds // max(count, 1) + 1
    return folds


def _check_folds(path: str | os.PathLike, pairs: lfw.Pairs) -> None:
    if not pairs.first or pairs.lines is None:
        raise ValueError(f"{path}, line 1: expected pairs. Received: none")
    for fold in range(1, int(pairs.folds.max()) + 1):
        inside = pairs.folds == fold
        if len(kinds := np.unique(pairs.is_same[inside])) == 2:
            continue
        if not inside.any():
            line = pairs.lines[np.argmax(pairs.folds > fold)]
            received = "none"
        else:
            line = pairs.lines[np.argmax(inside)]
            received = f"{inside.sum()} {'matched' if kinds[0] else 'mismatched'} pairs only"
        raise ValueError(
            f"{path}, line {line}: expected matched and mismatched pairs in fold {fold}. "
            f"Received: {received}"
        )
