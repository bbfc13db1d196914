"""The columns of a list of pairs: which hold the images, whether they match, and the fold.

Lists circulate with the answer behind the images or before them, as 1 and 0, 1 and -1 or in words,
with named columns (YouTube Faces' splits.txt), and with a line for each image (CALFW, CPLFW).
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from keras_sphereface.data.columns import plain_name, split_columns
from keras_sphereface.data.filenames import is_image_name

SAMPLE_LINES = 64  # from which a layout is chosen
NO_FOLD = -1
SAME = frozenset(
    "1 +1 1.0 true t yes y same match matched matching genuine positive pos mated".split()
)
DIFFERENT = frozenset(
    "0 -1 0.0 -1.0 false f no n different differ diff mismatch mismatched nonmatch nonmatching "
    "impostor imposter negative neg nonmated notsame".split()
)
_FIRST = (
    *("first", "firstname", "firstimage", "image1", "img1", "path1", "file1", "filename1", "name1"),
    *("imagea", "imga", "patha", "face1", "photo1", "id1", "left", "template1"),
    *("image0", "img0", "path0", "file0"),
)
_SECOND = (
    *("second", "secondname", "secondimage", "image2", "img2", "path2", "file2", "filename2"),
    *("name2", "imageb", "imgb", "pathb", "face2", "photo2", "id2", "right", "template2"),
    *("image1", "img1", "path1", "file1"),
)
_IS_SAME = (
    *(
        "issame",
        "same",
        "isthesame",
        "issameperson",
        "sameperson",
        "label",
        "match",
        "ismatch",
        "matched",
    ),
    *("target", "genuine", "isgenuine", "class", "groundtruth", "decision", "pairlabel"),
)
_FOLD = ("fold", "foldid", "foldnumber", "split", "splitnumber", "splitid")


class PairLayout(NamedTuple):
    """The columns of a list of pairs.

    Attributes:
        first, second, is_same: Int. Columns, from 0.
        fold: Int. Column of the fold, or `NO_FOLD`.
        width: Int. Number of columns; 0: that of the first line, of 3 or 4.
        has_header: Bool. Whether the first line names the columns.
        two_lines: Bool. Whether a pair is two lines `image number`: its fold, 0 for other
            identities.

    Example:

    >>> PairLayout(first=1, second=2, is_same=0).describe()
    'is_same first second'
    """

    first: int = 0
    second: int = 1
    is_same: int = 2
    fold: int = NO_FOLD
    width: int = 3
    has_header: bool = False
    two_lines: bool = False

    def describe(self) -> str:
        """Return the names of the columns."""
        if self.two_lines:
            return "two lines `image number` a pair, with 0 for other identities"
        names = ["-"] * self.width
        for name in ("first", "second", "is_same", "fold"):
            if (column := getattr(self, name)) != NO_FOLD:
                names[column] = name
        return " ".join(names)


Exists = Callable[[str], bool]  # whether a path is that of an image or folder


def split_pair(line: str) -> list[str]:
    """Split a line at tabs, semicolons, commas or white space; fields may be quoted."""
    return split_columns(line, next((sign for sign in "\t;," if sign in line), None))


def split_spaced(line: str, exists: Exists) -> list[str]:
    """Split a line at spaces into two paths, which may hold spaces, and the words beside them.

    A path ends at the suffix of an image, or where one exists.

    Args:
        line: Str. The paths come first, or behind the answer; a fold is the last.
        exists: Function that tells whether a path is that of an image or folder.

    Example:

    >>> split_spaced("Ada L/1 a.jpg Ada L/2.jpg 1", lambda path: False)
    ['Ada L/1 a.jpg', 'Ada L/2.jpg', '1']
    """
    words = line.split()
    shapes = ((0, 1), (1, 0), (0, 2), (1, 1))  # words before and behind the paths
    for is_path in (is_image_name, exists):
        for before, behind in shapes:
            middle = words[before : len(words) - behind]
            if len(middle) < 2 or truth_of(words[0 if before else -behind]) is None:
                continue
            paths = [(" ".join(middle[:i]), " ".join(middle[i:])) for i in range(1, len(middle))]
            paths = [both for both in paths if all(map(is_path, both))]
            if len(paths) == 1:
                return [*words[:before], *paths[0], *words[len(words) - behind :]]
    return words


def are_spaced(lines: Sequence[str], exists: Exists) -> bool:
    """Return whether lines are separated by spaces, which their paths hold as well."""
    if any(sign in line for line in lines for sign in "\t;,"):
        return False
    return any(" " in field for line in lines for field in split_spaced(line, exists))


def truth_of(word: str) -> bool | None:
    """Return whether a word means the same identity; None if it means neither.

    Example:

    >>> [truth_of(word) for word in ("1", "-1", "Same", "non-match", "2")]
    [True, False, True, False, None]
    """
    word = word.lower()
    plain = word if word in SAME or word in DIFFERENT else re.sub("[ _-]", "", word)
    return True if plain in SAME else False if plain in DIFFERENT else None


def pair_layout_of_names(names: str) -> PairLayout:
    """Return the layout that `--pair-columns` describes: first, second, is_same and maybe fold.

    Raises:
        ValueError: if one of the first three is missing, or one occurs twice.

    Example:

    >>> pair_layout_of_names("is_same,first,second").is_same
    0
    """
    columns = [name.strip() for name in names.split(",")]
    counts = {name: columns.count(name) for name in ("first", "second", "is_same", "fold")}
    if any(count != 1 for name, count in counts.items() if name != "fold") or counts["fold"] > 1:
        raise ValueError(
            "`pair_columns` must hold `first`, `second` and `is_same` once, `fold` at most once, "
            "and - for columns that are not used: --pair-columns is_same,first,second. "
            f"Received: {names!r}"
        )
    fold = columns.index("fold") if counts["fold"] else NO_FOLD
    first, second, is_same = (columns.index(name) for name in ("first", "second", "is_same"))
    return PairLayout(first, second, is_same, fold, len(columns))


def named_columns(fields: Sequence[str]) -> PairLayout | None:
    """Return the layout that a header names; None if it does not name the three columns."""
    names = list(map(plain_name, fields))

    def column_of(known: Sequence[str], taken: Sequence[int | None] = ()) -> int | None:
        columns = (names.index(name) for name in known if name in names)
        return next((column for column in columns if column not in taken), None)

    # `image1, image2` before `image0, image1`.
    second = column_of(_SECOND)
    first = column_of(_FIRST, [second])
    is_same = column_of(_IS_SAME, [first, second])
    if first is None or second is None or is_same is None:
        return None
    fold = column_of(_FOLD)
    return PairLayout(
        first, second, is_same, NO_FOLD if fold is None else fold, len(fields), has_header=True
    )


def choose_pair_layout(
    lines: Sequence[str], split: Callable[[str], list[str]] = split_pair
) -> PairLayout | None:
    """Choose the layout of a list from its first lines; None: it is none, but maybe LFW's form.

    Args:
        lines: Sequence of str without white space around them.
        split: Function that splits a line.

    Example:

    >>> choose_pair_layout(["1,a.jpg,b.jpg", "0,a.jpg,c.jpg"]).describe()
    'is_same first second'
    """
    rows = [split(line) for line in lines]
    if layout := named_columns(rows[0]):
        return layout
    width = len(rows[0])
    alike = [row for row in rows if len(row) == width]
    if width == 2 and all(is_image_name(row[0].rpartition("/")[2]) for row in alike):
        return PairLayout(0, 0, 1, width=2, two_lines=True)
    if width not in (3, 4):
        return None if width < 3 or _is_lfw(rows[0]) else PairLayout(width=width)
    fold = width - 1 if width == 4 else NO_FOLD
    is_answer = [all(truth_of(row[i]) is not None for row in alike) for i in (0, 2)]
    if is_answer[0] and not is_answer[1]:
        return PairLayout(1, 2, 0, fold, width)
    return None if _is_lfw(rows[0]) else PairLayout(0, 1, 2, fold, width)


def _is_lfw(fields: Sequence[str]) -> bool:
    # `Ann 1 3`, without a header above, is an entry of LFW; `1 3 0` one of IJB.
    return fields[1].isdigit() and not fields[0].isdigit()
