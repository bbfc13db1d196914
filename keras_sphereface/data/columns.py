"""Lines of text files as columns, and the names that headers give these."""

import contextlib
import csv
import re


def split_columns(line: str, separator: str | None) -> list[str]:
    """Split a line at a separator, or at white space if it is None or a space.

    Fields come without white space around them, and may be quoted where there is a separator.

    Example:

    >>> split_columns('"Ada, L/1.jpg", 7', ",")
    ['Ada, L/1.jpg', '7']
    """
    if separator in (None, " "):
        return line.split()
    fields = line.split(separator)
    if '"' in line:
        with contextlib.suppress(csv.Error):  # a name with a lone quote
            fields = next(csv.reader([line], delimiter=str(separator)))
    return [field.strip() for field in fields]


def plain_name(name: str) -> str:
    """Return the lower-case letters and the digits of a name: headers are written in many ways.

    Example:

    >>> plain_name("Left-Eye X")
    'lefteyex'
    """
    return re.sub("[^a-z0-9]", "", name.lower())
