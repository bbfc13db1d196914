"""Any source of images: its kind is recognized, and its reader chosen."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from keras_sphereface.config.choices import SOURCE_KINDS
from keras_sphereface.data import folders
from keras_sphereface.data.filenames import is_hidden, is_image_name
from keras_sphereface.data.readers import recordio
from keras_sphereface.data.readers.base64_table import is_base64_table, read_base64_table
from keras_sphereface.data.readers.class_folders import read_class_folders, scan_folder
from keras_sphereface.data.readers.list_file import read_list_file
from keras_sphereface.data.readers.registry import (
    BASE64_TABLE,
    CLASS_FOLDERS,
    FILE_KINDS,
    HEAD_BYTES,
    LIST_FILE,
    kind_of,
    reader_of,
)
from keras_sphereface.data.types import ImageRecord, SkippedImage


class Source(NamedTuple):
    """A source of images.

    Attributes:
        kind: One of `SOURCE_KINDS`, or several joined by " and ".
        images: Function without arguments that reads the source anew and yields its images.
        files: The files it consists of, if each can be read on its own.
        warnings: What looks wrong with it, in sentences.
        promised: What a file `property` says of RecordIO files; None without one.

    Example:

    >>> source = Source("class folders", lambda: iter([]))
    >>> list(source.images()), source.warnings
    ([], ())
    """

    kind: str
    images: Callable[[], Iterator[ImageRecord | SkippedImage]]
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    promised: recordio.RecordioProperty | None = None


def open_source(
    path: str | os.PathLike,
    root: str | os.PathLike = "",
    list_columns: str = "",
    follow_links: bool = False,
) -> Source:
    """Recognize the kind of the source at a path.

    A file is recognized by its first bytes; a text file is a list file. A folder without images
    in class folders may hold .rec files (compared with the train.idx beside them) or .parquet
    files at any depth, or archives; any other folder is one of class folders.

    Args:
        path: Path of the source.
        root: Folder that the paths of a list file are relative to; "": the folder of the list.
        list_columns: Str. Names of the columns of a list file; "": recognize them.
        follow_links: Bool. Follow symbolic links that lead out of class folders.

    Raises:
        FileNotFoundError: if nothing is at the path.
        ValueError: if `root` or `list_columns` are given for another source than a list file, or
            it is a verification set or of no known kind, or a folder without images in
            class folders.

    Example:

    >>> source = open_source("faces/images")
    >>> source.kind, len(list(source.images()))
    ('class folders', 114)
    """
    path = Path(path)
    is_text = path.is_file() and kind_of(_head(path)) is None
    if (root or list_columns) and (not is_text or is_base64_table(path)):
        raise ValueError(
            "`root` and `list_columns` are of a list file; leave --root and --list-columns out. "
            f"Received: {path}, which is none"
        )
    if path.is_dir():
        if files := _files_in(path, follow_links):
            return _source_of_files(files, path)
        folders.check_class_folders(path, "source")
        return Source(CLASS_FOLDERS, lambda: read_class_folders(path, follow_links))
    if not path.is_file():
        raise FileNotFoundError(
            f"The source must be one of: {'; '.join(SOURCE_KINDS.values())}; or a folder of such "
            f"files. Received: {path}, which does not exist"
        )
    if is_text and is_base64_table(path):
        return Source(BASE64_TABLE, lambda: read_base64_table(path))
    if is_text:
        return Source(LIST_FILE, lambda: read_list_file(path, root, list_columns))
    return _source_of_files([path], path.parent)


def key_prefix(path: str | os.PathLike, root: str | os.PathLike) -> str:
    """Return the prefix of the numbers of a file's images: its path below `root`."""
    return Path(path).relative_to(root).with_suffix("").as_posix() + "/"


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


def _source_of_files(files: list[Path], root: Path) -> Source:
    heads = {path: _head(path) for path in files}
    readers = {path: reader_of(head, str(path)) for path, head in heads.items()}
    kinds = {str(kind_of(head)) for head in heads.values()}

    def images() -> Iterator[ImageRecord | SkippedImage]:
        for path, reader in readers.items():
            with open(path, "rb") as file:
                yield from reader(file, str(path), key_prefix(path, root))

    of_recordio = [path for path in files if path.suffix == ".rec"]
    warnings = [text for path in of_recordio for text in _check_index(path)]
    promised = []
    for path in sorted({place for rec in of_recordio for place in _property_of(rec, root)}):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            promised.append(recordio.read_property(text))
        except ValueError as error:
            warnings.append(str(error))
    if len(files) > 1 and "RecordIO" in kinds:
        warnings.append(
            f"The source has {len(files)} RecordIO files. The same label in two of them is taken "
            "for the same identity."
        )
    # Several parts have the same labels: the one that promises most speaks for all.
    return Source(
        " and ".join(sorted(kinds)),
        images,
        tuple(files),
        tuple(warnings),
        max(promised, default=None),
    )


def _property_of(path: Path, root: Path) -> list[Path]:
    """Return the `property` beside a .rec file, or that beside the folders of its parts."""
    places = (folder / "property" for folder in (path.parent, root))
    return [place for place in places if place.is_file()][:1]


def _check_index(path: Path) -> Iterator[str]:
    """Yield what is wrong with the index beside a .rec file, which is read without it."""
    index = path.with_suffix(".idx")
    if index.is_file():
        with open(path, "rb") as file, open(index, encoding="utf-8", errors="replace") as lines:
            problem = recordio.check_index(file, path.name, lines)
        if problem:
            yield f"{index.name} does not fit {path.name} and is not used: {problem}"


def _files_in(root: Path, follow_links: bool) -> list[Path]:
    """Return the .rec, .parquet or archive files that a folder holds instead of class folders."""
    resolved_root = None if follow_links else root.resolve()
    folders = (entry for entry in scan_folder(root, resolved_root) if entry.is_dir())
    if any(_holds_image(folder) for folder in folders):
        return []
    of_kinds = (("RecordIO",), ("parquet",), ("zip archive", "tar archive"))
    suffixes = [tuple(s for kind in kinds for s in FILE_KINDS[kind].suffixes) for kinds in of_kinds]
    inside = [
        path
        for path in root.glob("**/*")
        if path.name.lower().endswith(sum(suffixes, ()))
        and path.is_file()
        and not any(map(is_hidden, path.relative_to(root).parts))
    ]
    *at_any_depth, archives = (
        sorted(path for path in inside if path.name.lower().endswith(endings))
        for endings in suffixes
    )
    at_any_depth.append([path for path in archives if path.parent == root])
    return next(filter(None, at_any_depth), [])


def _holds_image(folder: os.DirEntry) -> bool:
    with os.scandir(folder.path) as entries:
        return any(is_image_name(entry.name) for entry in entries)
