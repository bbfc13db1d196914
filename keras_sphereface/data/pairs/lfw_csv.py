"""The pairs of Labeled Faces in the Wild as csv files, as Kaggle distributes them.

`pairs.csv` has lines `name,i,j,` and `name,i,name,j` without folds; `matchpairsDevTest.csv` and
`mismatchpairsDevTest.csv` each have one kind.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.data.columns import plain_name, split_columns
from keras_sphereface.data.pairs import lfw
from keras_sphereface.utils.text import numbered_lines

_MATCHED, _MISMATCHED = "matchpairs", "mismatchpairs"


def is_lfw_csv(header: Sequence[str]) -> bool:
    """Return whether the columns of a header are those of these files.

    Example:

    >>> is_lfw_csv(["name", "imagenum1", "imagenum2", ""])
    True
    """
    names = list(map(plain_name, header))
    return names[:2] == ["name", "imagenum1"] and "imagenum2" in names


def csv_files(path: str | os.PathLike) -> list[Path]:
    """Return the file, or the two of which it is one: one for each kind of pairs."""
    file = Path(path)
    ending = file.name.removeprefix(_MISMATCHED).removeprefix(_MATCHED)
    both = [file.with_name(start + ending) for start in (_MATCHED, _MISMATCHED)]
    return both if file in both and all(other.is_file() for other in both) else [file]


def read_lfw_csv(path: str | os.PathLike, num_folds: int = 10) -> lfw.Pairs:
    """Read a file of pairs; of `matchpairsX.csv` and `mismatchpairsX.csv` both are read.

    Args:
        path: The file.
        num_folds: Int. Number of folds, into which matched and mismatched pairs are cut in their
            order: ten are those of LFW's pairs.txt.

    Raises:
        ValueError: naming file and line, if a line has another form.

    Example:

    >>> with open("pairs.csv", "w") as file:
    ...     _ = file.write("name,imagenum1,imagenum2,\\nAnn,1,3,\\nAnn,2,Bob,1\\n")
    >>> read_lfw_csv("pairs.csv").second
    ['Ann/Ann_0003.jpg', 'Bob/Bob_0001.jpg']
    """
    first: list[str] = []
    second: list[str] = []
    is_same, lines = [], []
    for file in csv_files(path):
        for number, line in list(numbered_lines(file))[1:]:
            fields = [field for field in split_columns(line, ",") if field]
            matched = len(fields) == 3
            if len(fields) not in (3, 4) or not all(map(lfw.is_count, (fields[1], fields[-1]))):
                raise ValueError(
                    f"{file}, line {number}: expected `name,i,j` or `name1,i,name2,j`. "
                    f"Received: {line!r}"
                )
            first.append(lfw.key_of(fields[0], fields[1]))
            second.append(lfw.key_of(fields[0 if matched else 2], fields[-1]))
            is_same.append(matched)
            lines.append(number)
    same = np.array(is_same, bool)
    return lfw.Pairs(first, second, same, lfw.assign_folds(same, num_folds), np.array(lines))
