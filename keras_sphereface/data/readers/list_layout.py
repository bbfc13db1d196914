"""The columns of a list of images: which hold the path and the identity.

Lists circulate as `path label`, `label path`, MXNet's `index label path` and `1 path label`, csv
with named columns, JSON lines, and paths alone. The layout is chosen by the names in a header, and
else by which column names images, those that exist first.
"""

import collections
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from keras_sphereface.data.columns import split_columns
from keras_sphereface.data.filenames import IMAGE_SUFFIXES, is_image_name
from keras_sphereface.data.landmark_layout import clean_path

SAMPLE_LINES = 64  # from which a layout is chosen
FOLDER = -1  # in place of the column of the identity: the folder that holds the image
JSON = "json"
_SEPARATORS = ("\t", ",", ";", " ")
_SUFFIXES = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
# A path that ends at the suffix of an image; both it and the identity may hold spaces.
_SPACED = re.compile(rf"(.+?(?:{_SUFFIXES}))\s+(\S.*)", re.IGNORECASE)
_PATH_NAMES = (
    *("path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "imagename"),
    *("imagefilename", "imageid", "img", "imgpath", "imgname", "name", "nameid", "key"),
)
_LABEL_NAMES = (
    *("identity", "label", "class", "classid", "person", "personid", "subject", "subjectid"),
    *("identityid", "target", "id", "celebrity", "name", "classname"),
)


class ListLayout(NamedTuple):
    """The columns of a list of images.

    Attributes:
        separator: Str. Tab, comma, semicolon, space or `JSON`.
        width: Int. Number of columns.
        path: Column of the path, from 0, or its name in JSON.
        label: Column of the identity, or its name; `FOLDER`: the folder of the image.
        has_header: Bool. Whether the first line names the columns.

    Example:

    >>> ListLayout("\\t", 3, path=2, label=1).parse("0\\t7.000000\\tAda/1.jpg")
    ('Ada/1.jpg', '7')
    """

    separator: str = " "
    width: int = 2
    path: int | str = 0
    label: int | str = 1
    has_header: bool = False

    def parse(self, line: str) -> tuple[str, str]:
        """Return the key and the identity of a line.

        Raises:
            ValueError: with its number of columns, if the line has other columns, or its path
                leaves the folder.
        """
        key, identity = self._read(line)
        if not key or not identity:
            count = "" if self.separator == JSON else f", of {len(self.split(line))} columns"
            raise ValueError(
                f"expected {self.describe()}. Received: {line!r}{count}. If all lines are so, name "
                "the columns: --list-columns -,path,label"
            )
        if ".." in key.split("/"):
            raise ValueError(f"a path must not hold `..`. Received: {line!r}")
        return key, identity

    def describe(self) -> str:
        """Return the form of a line in words."""
        if self.separator == JSON:
            return f'JSON lines {{"{self.path}": ..., "{self.label}": ...}}'
        names = ["-"] * self.width
        names[int(self.path)] = "path"
        if self.label != FOLDER:
            names[int(self.label)] = "identity"
        sign = {"\t": "<TAB>", " ": "<TAB or space>"}.get(self.separator, self.separator)
        return f"`{sign.join(names)}`"

    def _read(self, line: str) -> tuple[str, str]:
        """Return key and identity, "" for what the line does not have."""
        if self.separator == JSON:
            entry = _json_object(line)
            values = [entry.get(str(name), "") for name in (self.path, self.label)]
            key, identity = ("" if value is None else str(value).strip() for value in values)
            return clean_path(key), _whole(identity)
        fields = self.split(line)
        if len(fields) != self.width:
            return "", ""
        key = clean_path(fields[int(self.path)])
        if self.label == FOLDER:
            return key, key.rpartition("/")[0].rpartition("/")[2]
        return key, _whole(fields[int(self.label)])

    def split(self, line: str) -> list[str]:
        """Return the columns of a line."""
        if self.separator in line and self.separator != " ":
            fields = split_columns(line, self.separator)
        elif "\t" in line:
            fields = split_columns(line, "\t")
        elif self.separator == ",":
            return [line]
        elif (self.path, self.width) == (0, 2) and (spaced := _SPACED.fullmatch(line)):
            return list(spaced.groups())
        else:  # only the path may hold spaces
            before = line.split(maxsplit=int(self.path))
            fields = [*before[:-1], *before[-1].rsplit(maxsplit=self.width - 1 - int(self.path))]
        return [field.strip() for field in fields]


PLAIN = ListLayout()


def list_layout_of_names(names: str) -> ListLayout:
    """Return the layout that `--list-columns` describes: `path`, maybe `label`, others ignored.

    Raises:
        ValueError: if `path` is missing, or one of them occurs twice.

    Example:

    >>> list_layout_of_names("-,path,label").describe()
    '`-<TAB or space>path<TAB or space>identity`'
    """
    columns = [name.strip() for name in names.split(",")]
    if columns.count("path") != 1 or columns.count("label") > 1:
        raise ValueError(
            "`list_columns` must hold `path` once and `label` once, or not at all where the folder "
            f"is the identity: --list-columns -,path,label. Received: {names!r}"
        )
    label = columns.index("label") if "label" in columns else FOLDER
    return ListLayout(" ", len(columns), columns.index("path"), label)


def separator_of(layout: ListLayout, lines: Sequence[str]) -> ListLayout:
    """Return a layout of named columns with the separator that its lines have."""
    for separator in _SEPARATORS:
        candidate = layout._replace(separator=separator)
        if lines and all(all(candidate._read(line)) for line in lines[-3:]):
            first = split_columns(lines[0], separator)
            return candidate._replace(has_header=_named(first) is not None)
    return layout


def choose_list_layout(lines: Sequence[str], exists: Callable[[str], bool]) -> ListLayout:
    """Choose the layout of a list from its first lines.

    Args:
        lines: Sequence of str without white space around them.
        exists: Function that tells whether a path is that of a file.

    Example:

    >>> choose_list_layout(["path,label", "Ada/1.jpg,7"], lambda path: True).describe()
    '`path,identity`'
    >>> choose_list_layout(["7 Ada/1.jpg", "8 Bob/1.jpg"], lambda path: False).describe()
    '`identity<TAB or space>path`'
    """
    if not lines:
        return PLAIN
    if lines[0].startswith("{") and (entry := _json_object(lines[0])):
        return _json_layout(entry)
    for separator in _SEPARATORS:
        fields = split_columns(lines[0], separator)
        if columns := _named(fields):
            return ListLayout(separator, len(fields), *columns, has_header=True)
    best, best_score = PLAIN, _score(PLAIN, lines, exists)
    for layout in _candidates(lines):
        if (score := _score(layout, lines, exists)) > best_score:
            best, best_score = layout, score
    return best


def _candidates(lines: Sequence[str]) -> Iterator[ListLayout]:
    """Yield the layouts in use, the most frequent first."""
    for separator in _SEPARATORS:
        widths = collections.Counter(len(split_columns(line, separator)) for line in lines)
        width = widths.most_common(1)[0][0]
        if separator != " " and width < 2:
            continue
        yield from (ListLayout(separator, 2, 0, 1), ListLayout(separator, 2, 1, 0))
        if width >= 3:
            width = 3 if separator == " " else width
            yield ListLayout(separator, width, 1, 2)  # InsightFace: 1, path, label
            yield ListLayout(separator, width, width - 1, 1)  # im2rec: index, label, path
            yield ListLayout(separator, width, 0, 1)
    yield ListLayout(" ", 1, 0, FOLDER)


def _score(
    layout: ListLayout, lines: Sequence[str], exists: Callable[[str], bool]
) -> tuple[int, int]:
    """Return how many lines name files that exist, and how many name images."""
    entries = [layout._read(line) for line in lines]
    keys = [key for key, identity in entries if key and identity and not is_image_name(identity)]
    return sum(map(exists, keys)), sum(map(is_image_name, (k.rpartition("/")[2] for k in keys)))


def _named(fields: Sequence[str]) -> tuple[int, int] | None:
    """Return the columns of path and identity that a header names; None if it names none."""
    names = [re.sub("[^a-z]", "", field.lower()) for field in fields]
    path = next((names.index(name) for name in _PATH_NAMES if name in names), None)
    labels = [names.index(name) for name in _LABEL_NAMES if name in names]
    label = next((column for column in labels if column != path), None)
    return None if path is None or label is None else (path, label)


def _json_layout(entry: dict) -> ListLayout:
    columns = list(entry)
    named = _named(columns)
    if named is None:
        raise ValueError(
            'expected JSON lines {"path": ..., "label": ...}. '
            f"Received: the keys {', '.join(columns)}"
        )
    return ListLayout(JSON, len(columns), *(columns[i] for i in named))


def _json_object(line: str) -> dict:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _whole(label: str) -> str:
    """Return `7` for `7.000000`, as im2rec writes numbers of classes."""
    return label.partition(".")[0] if re.fullmatch(r"\d+\.0+", label) else label
