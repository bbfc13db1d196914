"""Groups of identities or images, from a csv file: for example gender, age, or kind of camera."""

import csv
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.columns import plain_name
from keras_sphereface.data.keys import matched_keys
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.utils.text import encoding_of

# Names of the first column, by what it names.
IDENTITY_NAMES = ("identity", "name", "person", "subject", "id", "identityid", "subjectid")
IMAGE_NAMES = ("image", "path", "file", "key", "filename", "imagepath", "template")
MAX_VALUES = 12  # a column of numbers with more different values is cut into quarters


class GroupTable(NamedTuple):
    """Groups by one or more columns.

    Attributes:
        file: Path of the file.
        names_identities: Whether rows are of identities; else of images.
        columns: {column: {identity or image: its group}}; what has no group is not among them.

    Example:
        >>> table = GroupTable("groups.csv", True, {"gender": {"Ann": "female"}})
        >>> table.groups_of(["Ann/Ann_0001.jpg", "Bob/Bob_0001.jpg"], "gender")
        ['female', '']
    """

    file: str
    names_identities: bool
    columns: Mapping[str, Mapping[str, str]]

    def groups_of(self, keys: Sequence[str], column: str) -> list[str]:
        """Return the group of each image by its key; "" where there is none."""
        groups, names = self.columns[column], list(keys)
        if self.names_identities:
            names = [identity_of_key(key) for key in keys]
        name_of = matched_keys(names, list(groups))
        return [groups.get(name_of.get(name, ""), "") for name in names]


def read_groups(path: str | os.PathLike) -> GroupTable:
    """Read a csv file with a header: `identity` or `image` first, then any columns of groups.

    Cells may be empty. A column of more than 12 different numbers, such as an age in years, is cut
    into quarters of equally many rows.

    Raises:
        ValueError: If the file has another form, or a name twice.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("groups.csv").write_text("identity,gender\\nAnn,female\\nBob,male\\n")
        >>> read_groups("groups.csv").columns
        {'gender': {'Ann': 'female', 'Bob': 'male'}}
    """
    header, rows = _read_rows(path)
    first, *columns = header
    plain = plain_name(first)
    if plain not in IDENTITY_NAMES + IMAGE_NAMES or not all(columns) or not columns:
        raise ValueError(
            f"{path}, line 1: the header must be `identity` or `image`, then the name of each "
            f"column of groups. Received: {','.join(header)}"
        )
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path}, line 1: columns must differ. Received: {','.join(header)}")
    names: dict[str, int] = {}
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {number}: a row must have {len(header)} columns as the header has. "
                f"Received: {len(row)}"
            )
        if row[0] in names:
            raise ValueError(
                f"{path}, line {number}: each {first} must have one row. "
                f"Received: {row[0]} as in line {names[row[0]]}"
            )
        names[row[0]] = number
    if not rows:
        raise ValueError(f"{path} must have rows below its header. Received: none")
    table = {
        column: {row[0]: row[i] for _, row in rows if row[i]}
        for i, column in enumerate(columns, start=1)
    }
    return GroupTable(
        str(path),
        plain in IDENTITY_NAMES,
        {column: _cut_numbers(groups) for column, groups in table.items()},
    )


def check_groups(table: GroupTable, keys: Sequence[str], has_identities: bool = True) -> None:
    """Refuse groups of none of the images.

    Args:
        table: Groups of identities or of images.
        keys: Keys of the images.
        has_identities: Bool. Whether keys name the identity.

    Raises:
        ValueError: If no image has a group, or its identity is not known.
    """
    if table.names_identities and not has_identities:
        raise ValueError(
            f"{table.file} names identities, but the keys of these pairs name none. Give groups of "
            f"images, with a first column `image`. Received: images such as {keys[0]}"
        )
    if not any(group for column in table.columns for group in table.groups_of(keys, column)):
        kind = "identities" if table.names_identities else "images"
        known = {name for groups in table.columns.values() for name in groups}
        raise ValueError(
            f"{table.file} must name {kind} of the pairs. Received: none of them; it names "
            f"{min(known, default='nothing')}, and the pairs {keys[0]}"
        )


def _read_rows(path: str | os.PathLike) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and (line, cells) of each row that is not blank."""
    try:
        with open(path, encoding=encoding_of(path), newline="") as file:
            reader = csv.reader(file, _dialect(file.readline()))
            file.seek(0)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (UnicodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a csv file. Received: {error}") from error
    if not rows:
        raise ValueError(f"{path} must have a header. Received: an empty file")
    return rows[0][1], rows[1:]


def _dialect(header: str) -> type[csv.Dialect]:
    """Return the form of csv with the separator of the header: a comma, semicolon or tab."""

    class Form(csv.excel):
        delimiter = max(",;\t", key=header.count)

    return Form


def _cut_numbers(groups: dict[str, str]) -> dict[str, str]:
    """Cut a column of many different numbers into quarters, named by their ends."""
    if len(set(groups.values())) <= MAX_VALUES:
        return groups
    try:
        numbers = np.array([float(value) for value in groups.values()])
    except ValueError:
        return groups
    if not np.isfinite(numbers).all():
        return groups
    limits = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75), method="lower"))
    parts = np.searchsorted(limits, numbers)
    named = {
        part: f"{numbers[parts == part].min():g} to {numbers[parts == part].max():g}"
        for part in np.unique(parts)
    }
    return {name: named[part] for name, part in zip(groups, parts, strict=True)}
