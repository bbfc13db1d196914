"""Images named in a text file, each with its identity."""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from keras_sphereface.data.image_folder import ImageFolder
from keras_sphereface.data.readers import list_layout
from keras_sphereface.data.readers.list_layout import ListLayout
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage
from keras_sphereface.utils.progress import log, warn
from keras_sphereface.utils.text import counted, numbered_lines

NO_FILE = "the file does not exist"


def read_list_file(
    path: str | os.PathLike, root: str | os.PathLike = "", columns: str = ""
) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of a list: a line `path<TAB or space>identity` for each, or another layout.

    A path is absolute, or relative to the folder of the list; it may hold spaces, and have another
    suffix than the image, or none. An identity with spaces needs the tab. Blank lines are ignored.
    MXNet's lists, csv, JSON lines, the label first and paths alone (`IDENTITY/IMAGE`) are
    recognized by which column names images.

    Args:
        path: The list.
        root: Folder that paths are relative to; "": the folder of the list.
        columns: Str. Names of the columns, `path`, `label` and any other; "": recognize them.

    Raises:
        ValueError: naming the line and its number of columns, if it has another form or its path
            leaves the folder.

    Example:

    >>> with open("list.txt", "w") as file:
    ...     _ = file.write("faces/images/person_0001/person_0001_0001.jpg\\tAda\\nnone.jpg\\tAda")
    >>> [type(entry).__name__ for entry in read_list_file("list.txt")]
    ['ImageRecord', 'SkippedImage']
    """
    folder = Path(root) if root else Path(path).parent
    layout = find_list_layout(path, numbered_lines(path), folder, columns)
    if layout != list_layout.PLAIN and not columns:
        log(f"{path} is read as {layout.describe()}; --list-columns overrules it.")
    images = ImageFolder(folder)
    num_missing, first_missing = 0, ""
    for number, key, identity in list_entries(path, layout, numbered_lines(path)):
        file = folder / key  # an absolute key stays what it is
        try:
            if not file.is_file():
                file = images.path_of(key) or file
            size = file.stat().st_size
        except (OSError, ValueError):
            num_missing += 1
            first_missing = first_missing or f"line {number}, {file}"
            yield SkippedImage(key, NO_FILE)
            continue
        yield ImageRecord(key, identity, ByteRange(str(file), 0, size))
    if num_missing:
        warn(
            f"{path} names {counted(num_missing, 'file')} that do not exist, the first in "
            f"{first_missing}. Paths are relative to the folder of the list, or to --root."
        )


def find_list_layout(
    path: str | os.PathLike,
    lines: Iterable[tuple[int, str]],
    root: Path | None,
    columns: str = "",
) -> ListLayout:
    """Return the layout of a list.

    Args:
        path: The list that is named in messages.
        lines: Iterable of (number, line), of which the first are read.
        root: Folder in which images are looked for; None: they are not.
        columns: Str. Names of the columns; "": recognize them.

    Raises:
        ValueError: naming the file, if its columns are not known.
    """
    sample = [line for _, line in itertools.islice(lines, list_layout.SAMPLE_LINES)]
    if columns:
        return list_layout.separator_of(list_layout.list_layout_of_names(columns), sample)

    def exists(key: str) -> bool:
        try:
            return root is not None and (root / key).is_file()
        except (OSError, ValueError):
            return False

    try:
        return list_layout.choose_list_layout(sample, exists)
    except ValueError as error:
        raise ValueError(f"{path}, line 1: {error}") from None


def list_entries(
    path: str | os.PathLike, layout: ListLayout, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str, str]]:
    """Yield (number, key, identity) of the lines of a list, without its header.

    Raises:
        ValueError: naming the line, if it has another form or its path leaves the folder.
    """
    for number, line in itertools.islice(lines, int(layout.has_header), None):
        try:
            yield number, *layout.parse(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
