"""The columns of a landmark file: which hold the path and the five points, and in which order.

Public tools write a label before the points, a bounding box or a score beside them, five x before
five y, or the left and the right of the person. The layout is chosen by the names in a header, and
else by what fits the five-point template.
"""

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.alignment import landmark_template, similarity_transform
from keras_sphereface.data.columns import plain_name, split_columns

SAMPLE_LINES = 256  # from which a layout is chosen
MAX_NUMBERS = 40  # on a line; more are other landmarks, as the 68 of dlib
COORDINATES = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
_PATH_NAMES = frozenset(
    "path file filename filepath image imageid imagename imagepath imgpath img imgname name nameid "
    "key".split()
)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", re.IGNORECASE)
_PLAIN = re.compile(r"((?:\s+\S+){10})$")
# Orders of ten numbers as indices of x1, y1, x2, y2 ... among them.
_INTERLEAVED = tuple(range(10))
_PLANAR = (0, 5, 1, 6, 2, 7, 3, 8, 4, 9)
_Y_FIRST = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8)
_SWAPPED = (2, 3, 0, 1, 4, 5, 8, 9, 6, 7)  # left and right of eyes and mouth exchanged
# Misfit of a face to the template: 0 none, 1 as bad as a single point. Frontal faces have 0.1 to
# 0.2, profiles 0.4; numbers in a wrong order 0.7 to 1.
FITS = 0.45
CLEARLY_BETTER = 0.6


class LandmarkLayout(NamedTuple):
    """The columns of a landmark file.

    Attributes:
        width: Int. Number of columns.
        path: Int. Column of the path, from 0.
        points: Ten int. Columns of x1, y1, ..., x5, y5.

    Example:

    >>> layout = LandmarkLayout(12, 0, tuple(range(2, 12)))
    >>> layout.describe()
    'path,-,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5'
    >>> layout.parse("0000045/001.jpg 7 1 2 3 4 5 6 7 8 9 10")[0]
    '0000045/001.jpg'
    """

    width: int = 11
    path: int = 0
    points: tuple[int, ...] = tuple(range(1, 11))

    def parse(self, line: str) -> tuple[str, np.ndarray]:
        """Return the key and the (5, 2) points of a line.

        Raises:
            ValueError: with its number of columns, if it has other columns.
        """
        fields = split_fields(line, self.width)
        try:
            points = np.array([float(fields[column]) for column in self.points]).reshape(5, 2)
        except (ValueError, IndexError):
            points = np.full((5, 2), np.nan)
        if len(fields) != self.width or not np.isfinite(points).all():
            raise ValueError(
                f"expected {self._columns()}. Received: {line!r}, of {len(fields)} columns. If all "
                "lines are so, name the columns: --landmark-columns path,-,x1,y1,..."
            )
        return clean_path(fields[self.path]), points

    def describe(self) -> str:
        """Return the names of the columns, as `landmark_layout_of_names` takes them."""
        names = ["-"] * self.width
        names[self.path] = "path"
        for name, column in zip(COORDINATES, self.points, strict=True):
            names[column] = name
        return ",".join(names)

    def _columns(self) -> str:
        if self == PLAIN:
            return "a path and ten finite numbers"
        return f"{self.width} columns {self.describe()} with finite numbers"


PLAIN = LandmarkLayout()


def clean_path(path: str) -> str:
    """Return a path with slashes, and without `./` at its start."""
    path = path.replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def split_fields(line: str, width: int = 0) -> list[str]:
    """Split a line at tabs, commas, semicolons or spaces, by whatever yields ten numbers.

    Args:
        line: Str without white space around it.
        width: Int. Number of columns that is expected; 0: unknown. A path with spaces is one
            column.
    """
    if width == PLAIN.width and (plain := _PLAIN.search(line)) and "," not in plain[1]:
        return [line[: plain.start()].strip(), *plain[1].split()]
    for separator in "\t,;":
        if separator in line:
            fields = split_columns(line, separator)
            if len(fields) == width or sum(map(_is_number, fields)) >= 10:
                return fields
    tokens = line.split()
    numbers = list(itertools.takewhile(_is_number, reversed(tokens)))
    if not numbers or len(numbers) == len(tokens):
        return tokens
    return line.rsplit(maxsplit=len(numbers))


def landmark_layout_of_names(names: str) -> LandmarkLayout:
    """Return the layout that `--landmark-columns` describes.

    Args:
        names: Str. A name for each column, separated by commas: `path`, `x1`, `y1` ... `x5`,
            `y5`; any other for a column that is not used.

    Raises:
        ValueError: if one of the eleven is missing or occurs twice.

    Example:

    >>> landmark_layout_of_names("path,label,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5").width
    12
    """
    columns = [name.strip() for name in names.split(",")]
    wrong = [name for name in ("path", *COORDINATES) if columns.count(name) != 1]
    if wrong:
        raise ValueError(
            "`landmark_columns` must hold `path`, `x1`, `y1` ... `x5`, `y5` once each, separated "
            "by commas, and any other name for a column that is not used: --landmark-columns "
            f"path,-,x1,y1,... Received: {names!r}, where {wrong[0]} occurs "
            f"{columns.count(wrong[0])} times"
        )
    return LandmarkLayout(
        len(columns), columns.index("path"), tuple(map(columns.index, COORDINATES))
    )


def choose_landmark_layout(lines: Sequence[tuple[int, str]]) -> tuple[LandmarkLayout, int]:
    """Choose the layout of a file from its first lines.

    Left and right are those of the image. A file of eleven columns whose points fit nothing keeps
    the plain order.

    Args:
        lines: Sequence of (number, line) without white space around it.

    Returns:
        The layout, and the number of the first line of points.

    Raises:
        ValueError: if the points cannot be told from other numbers, or no line has ten numbers.

    Example:

    >>> x, y = (30, 65, 48, 33, 62), (51, 51, 71, 92, 92)
    >>> line = "ada/1.jpg 7 " + " ".join(map(str, x + y))
    >>> choose_landmark_layout([(1, line)])[0].describe()
    'path,-,x1,x2,x3,x4,x5,y1,y2,y3,y4,y5'
    """
    rows = [(number, split_fields(line)) for number, line in lines]
    is_data = [sum(map(_is_number, fields)) >= 10 for _, fields in rows]
    if not any(is_data):
        return PLAIN, lines[0][0] if lines else 1
    first = is_data.index(True)
    data = [fields for (_, fields), fits in zip(rows, is_data, strict=True) if fits]
    width = collections.Counter(map(len, data)).most_common(1)[0][0]
    data = [fields for fields in data if len(fields) == width]
    header = _names_of_header([line for _, line in lines[:first]], width)
    if first and header is None and any(not _is_count(line) for _, line in lines[:first]):
        return PLAIN, lines[0][0]  # whose error names the line
    return _fitting_layout(data, width, header), rows[first][0]


def _fitting_layout(
    data: Sequence[list[str]], width: int, header: LandmarkLayout | None
) -> LandmarkLayout:
    path = header.path if header else _path_column(data)
    numbers = _number_columns(data, path)
    if header:
        layouts = [header, _exchanged(header)]
    else:
        if not 10 <= len(numbers) <= MAX_NUMBERS:
            raise ValueError(_unclear(data[0], "of which ten in a row must be the points"))
        layouts = [LandmarkLayout(width, path, points) for points in _orders(numbers)]
    scores = [_misfit(data, layout) for layout in layouts]
    best = int(np.argmin(scores))
    is_expected = header is not None or len(numbers) == 10
    if scores[best] < FITS and (not is_expected or scores[best] < CLEARLY_BETTER * scores[0]):
        return layouts[best]
    if is_expected:
        return layouts[0]
    raise ValueError(_unclear(data[0], "none of which fit a face in any order"))


def _unclear(fields: Sequence[str], problem: str) -> str:
    return (
        "expected a path and five points, maybe with other numbers beside them. Name the columns: "
        f"--landmark-columns path,-,x1,y1,... Received: {list(fields)!r}, {len(fields)} columns, "
        f"{problem}"
    )


def _orders(numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the columns of the points in each order, of each ten neighbors."""
    for start in range(len(numbers) - 9):
        for order in (_INTERLEAVED, _PLANAR, _Y_FIRST):
            columns = tuple(numbers[start + i] for i in order)
            yield columns
            yield tuple(columns[i] for i in _SWAPPED)


def _exchanged(layout: LandmarkLayout) -> LandmarkLayout:
    return layout._replace(points=tuple(layout.points[i] for i in _SWAPPED))


def _misfit(data: Iterable[Sequence[str]], layout: LandmarkLayout) -> float:
    """Return how badly the points fit the template, 0 to 1; tilted faces count as worse."""
    numbers = [[_value(fields[column]) for column in layout.points] for fields in data]
    points = np.array(numbers).reshape(-1, 5, 2)
    usable = np.isfinite(points).all((1, 2)) & (np.ptp(points, axis=1).max(1) > 1e-3)
    usable &= np.abs(points).max((1, 2)) < 1e6
    if not usable.any():
        return 1.0
    points, template = points[usable], landmark_template()
    matrix = similarity_transform(points, template)
    mapped = np.einsum("nij,npj->npi", matrix[:, :, :2], points) + matrix[:, None, :, 2]
    spread = np.sum((template - template.mean(0)) ** 2)
    misfit = np.sqrt(np.sum((mapped - template) ** 2, (1, 2)) / spread)
    angles = np.abs(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    return float(np.median(misfit) + 0.3 * (np.median(angles) > np.pi / 3))


def _path_column(data: Sequence[list[str]]) -> int:
    """Return the column that never is a number, or the first."""
    texts = [i for i in range(len(data[0])) if not any(_is_number(row[i]) for row in data)]
    return texts[0] if texts else 0


def _number_columns(data: Sequence[list[str]], path: int) -> list[int]:
    """Return the columns of numbers behind the path, or before it if too few are behind."""
    width = len(data[0])
    numbers = [i for i in range(width) if i != path and all(_is_number(row[i]) for row in data)]
    behind = [i for i in numbers if i > path]
    return behind if len(behind) >= 10 else [i for i in numbers if i < path]


def _names_of_header(lines: Sequence[str], width: int) -> LandmarkLayout | None:
    """Return the layout that the last line before the points names; None if it names none."""
    if not lines:
        return None
    header = lines[-1].lstrip("#").strip()
    separator = next((sign for sign in "\t,;" if sign in header), None)
    names = [plain_name(name) for name in split_columns(header, separator)]
    if len(names) == width - 1:  # as in CelebA: the path has no name
        names.insert(0, "path")
    parts = _parts_of_names(names)
    if len(names) != width or parts is None:
        return None
    paths = [i for i, name in enumerate(names) if name in _PATH_NAMES]
    return LandmarkLayout(width, paths[0] if paths else 0, parts)


def _parts_of_names(names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the columns of x1, y1 ... by names of parts (`lefteyex`) or numbers (`p1x`, `x1`)."""
    found: dict[tuple[str, str], int] = {}
    for column, name in enumerate(names):
        axis = name[-1:] if name[-1:] in ("x", "y") else name[:1]
        for part, words in _PARTS.items():
            if axis in ("x", "y") and all(word in name for word in words):
                found.setdefault((part, axis), column)
    wanted = [(part, axis) for part in _PARTS for axis in "xy"]
    if all(key in found for key in wanted):
        return tuple(found[key] for key in wanted)
    numbered: dict[tuple[str, str], dict[int, int]] = {}
    for column, name in enumerate(names):
        if match := re.fullmatch(r"([a-z]*?)(\d)([xy])|([a-z]*?)([xy])(\d)", name):
            stem, axis = match[1] or match[4] or "", match[3] or match[5]
            numbered.setdefault((stem, axis), {})[int(match[2] or match[6])] = column
    for (stem, axis), of_x in numbered.items():
        of_y = numbered.get((stem, "y"), {})
        if axis == "x" and len(of_x) == 5 and sorted(of_x) == sorted(of_y):
            return tuple(of[number] for number in sorted(of_x) for of in (of_x, of_y))
    return None


# Words that the name of a part holds, letters only; left and right are checked by the template.
_PARTS = {
    "left eye": ("eye", "left"),
    "right eye": ("eye", "right"),
    "nose": ("nose",),
    "left mouth": ("mouth", "left"),
    "right mouth": ("mouth", "right"),
}


def _is_number(field: str) -> bool:
    return _NUMBER.fullmatch(field) is not None


def _is_count(line: str) -> bool:
    # The number of images that CelebA's list begins with, or a remark.
    return line.startswith("#") or line.isdigit()


def _value(field: str) -> float:
    return float(field) if _is_number(field) else np.nan
