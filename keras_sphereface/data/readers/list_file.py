"""Images named in a text file, each with its identity."""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage
from keras_sphereface.utils.text import numbered_lines

NO_FILE = "the file does not exist"


def read_list_file(path: str | os.PathLike) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of a list: a line `path<TAB or space>identity` for each.

    A path is absolute, or relative to the folder of the list; it may hold spaces. An identity
    with spaces needs the tab. Blank lines are ignored.

    Raises:
        ValueError: naming the line, if it has another form or its path leaves the folder.

    Example:

    >>> with open("list.txt", "w") as file:
    ...     _ = file.write("faces/images/person_0001/person_0001_0001.jpg\\tAda\\nnone.jpg\\tAda")
    >>> [type(entry).__name__ for entry in read_list_file("list.txt")]
    ['ImageRecord', 'SkippedImage']
    """
    path = Path(path)
    for number, line in numbered_lines(path):
        try:
            key, identity = parse_list_line(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        file = path.parent / key  # an absolute key stays what it is
        try:
            size = file.stat().st_size
        except (OSError, ValueError):
            yield SkippedImage(key, NO_FILE)
            continue
        yield ImageRecord(key, identity, ByteRange(str(file), 0, size))


def parse_list_line(line: str) -> tuple[str, str]:
    """Return the key and the identity of a line of a list file.

    Raises:
        ValueError: if the line has another form, or its path leaves the folder.
    """
    name, _, identity = line.rpartition("\t" if "\t" in line else " ")
    key, identity = name.strip().replace("\\", "/"), identity.strip()
    if not key or not identity:
        raise ValueError(f"expected `path<TAB or space>identity`. Received: {line!r}")
    if ".." in key.split("/"):
        raise ValueError(f"a path must not hold `..`. Received: {line!r}")
    return key, identity
