"""Lists of templates: sets of images of one identity that are compared as a whole."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from keras_sphereface.data.columns import plain_name, split_columns
from keras_sphereface.data.filenames import IMAGE_SUFFIXES
from keras_sphereface.utils.text import numbered_lines

_TEMPLATE = ("templateid", "template", "tid")
_PATH = ("filename", "file", "path", "image", "imagepath", "imagename")
_MEDIUM = ("mediaid", "mediumid", "medium", "mid", "videoid")
_SUBJECT = ("subjectid", "subject", "identity", "personid")
_SUFFIXES = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
# A path with spaces ends at the suffix of an image.
_SPACED = re.compile(rf"(.+?(?:{_SUFFIXES}))\s+(\S+)(?:\s+(\S+))?", re.IGNORECASE)


class _Columns(NamedTuple):
    """Columns, from 0; -1 for what a list does not have."""

    path: int = 0
    template: int = 1
    medium: int = 2
    subject: int = -1


def read_templates(path: str | os.PathLike) -> dict[str, list[tuple[str, str]]]:
    """Read a list of templates, a line `path template [medium]` for each image, as IJB has.

    Tabs or spaces separate. Images of a template with the same medium are frames of one video;
    without the column each image is a separate medium. A csv file may name its columns, as those
    of IJB do: TEMPLATE_ID, SUBJECT_ID, FILENAME, MEDIA_ID, in any order and with others. Of a
    folder all such csv files are read.

    Returns:
        {template: [(path, medium)]}.

    Raises:
        ValueError: naming file and line, if a line has another form.

    Reference: Klare et al., "Pushing the frontiers of unconstrained face detection and
    recognition: IARPA Janus Benchmark A", CVPR 2015.

    Example:

    >>> with open("templates.txt", "w") as file:
    ...     _ = file.write("ada/1.jpg t1\\nada/2.jpg t1\\n")
    >>> read_templates("templates.txt")
    {'t1': [('ada/1.jpg', 'ada/1.jpg'), ('ada/2.jpg', 'ada/2.jpg')]}
    """
    templates: dict[str, list[tuple[str, str]]] = {}
    for name, key, medium, _ in _entries(path):
        templates.setdefault(name, []).append((key, medium))
    return templates


def read_template_identities(path: str | os.PathLike) -> dict[str, str]:
    """Return {template: identity} of a list of templates that names them; {} if it does not.

    Raises:
        ValueError: naming the file, as `read_templates`, or if a template has two identities.

    Example:

    >>> with open("templates.csv", "w") as file:
    ...     _ = file.write("TEMPLATE_ID,SUBJECT_ID,FILENAME\\n7,ada,img/1.jpg\\n")
    >>> read_template_identities("templates.csv")
    {'7': 'ada'}
    """
    identities: dict[str, str] = {}
    for name, _, _, identity in _entries(path):
        if identity and identities.setdefault(name, identity) != identity:
            raise ValueError(
                f"{path}: a template is of one identity. Received: template {name} of "
                f"{identities[name]} and {identity}"
            )
    return identities


def _entries(path: str | os.PathLike) -> Iterator[tuple[str, str, str, str]]:
    """Yield (template, key, medium, identity) of all lines; "" without an identity."""
    if Path(path).is_dir():
        files = [file for file in sorted(Path(path).glob("*.csv")) if _columns_of(file)]
        if not files:
            raise ValueError(
                "A folder of templates must hold .csv files with the columns TEMPLATE_ID and "
                f"FILENAME, as those of IJB. Received: {path}"
            )
        known: set[str] = set()  # a probe set may hold templates of a gallery
        for file in files:
            of_file = [entry for entry in _entries(file) if entry[0] not in known]
            known.update(name for name, *_ in of_file)
            yield from of_file
        return
    named = _columns_of(path)
    columns = named or _Columns()
    for number, line in numbered_lines(path):
        if named and number == 1:
            continue
        fields = _fields(line, named is not None)
        is_whole = len(fields) > max(columns) if named else len(fields) in (2, 3)
        if not is_whole or not (fields[columns.path] and fields[columns.template]):
            raise ValueError(
                f"{path}, line {number}: expected `path template [medium]`. Received: {line!r}"
            )
        key = fields[columns.path].replace("\\", "/")
        has_medium = 0 <= columns.medium < len(fields) and fields[columns.medium]
        identity = fields[columns.subject] if columns.subject >= 0 else ""
        yield fields[columns.template], key, fields[columns.medium] if has_medium else key, identity


def _columns_of(path: str | os.PathLike) -> _Columns | None:
    """Return the columns that the first line names; None if it names none."""
    header = next((line for _, line in numbered_lines(path)), "")
    names = list(map(plain_name, split_columns(header, ",")))

    def column_of(known: tuple[str, ...]) -> int:
        return next((names.index(name) for name in known if name in names), -1)

    columns = _Columns(*map(column_of, (_PATH, _TEMPLATE, _MEDIUM, _SUBJECT)))
    return columns if columns.path >= 0 and columns.template >= 0 else None


def _fields(line: str, is_csv: bool) -> list[str]:
    if is_csv or "\t" in line:
        return split_columns(line, "," if is_csv else "\t")
    if match := _SPACED.fullmatch(line):
        return [field for field in match.groups() if field is not None]
    return line.split()
