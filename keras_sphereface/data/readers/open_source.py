"""What users hold: class folders, list files, archives, RecordIO and parquet, told apart.

Each kind has a reader, an iterator of `Image` and `SkippedImage`. Readers of files that can lie
anywhere take the open file, so that they serve the local disk and remote storage alike.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from keras_sphereface.data.readers import archives, parquet, recordio
from keras_sphereface.data.readers.filenames import (
    NOT_TEXT,
    STRAY,
    is_hidden,
    is_image_name,
    is_text,
    shown,
)
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage
from keras_sphereface.utils.text import numbered_lines

# (open file, its name, what stands in front of keys that are mere numbers) -> its images.
Reader = Callable[[BinaryIO, str, str], Iterator[ImageRecord | SkippedImage]]

CLASS_FOLDERS = "class folders"
LIST_FILE = "list file"
EMPTY = "the folder holds no image"
NO_FILE = "there is no such file"


class Source(NamedTuple):
    """A source of images that was told from the others.

    Attributes:
        kind: in words, such as "class folders".
        images: what it holds, read anew at each call.
        files: those it is made of, if each can be read on its own.
        warnings: what is odd about it, in sentences.
    """

    kind: str
    images: Callable[[], Iterator[ImageRecord | SkippedImage]]
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def open_source(path: str | os.PathLike) -> Source:
    """Tell what kind of source a path is.

    A folder without images in class folders may hold .rec files (train.idx and property beside
    them are compared with it), .parquet files at any depth, or archives; any other holds class
    folders. A file is told by its first bytes, and is a list file if it is text.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: if it is a verification set or of no known kind.
    """
    path = Path(path)
    if path.is_dir():
        return (
            _of_files(files, path)
            if (files := _files_in(path))
            else Source(CLASS_FOLDERS, lambda: class_folders(path))
        )
    if not path.is_file():
        raise FileNotFoundError(
            "The source must be a folder of class folders, a list file, a zip or tar archive, a "
            f".rec or a .parquet file, or a folder of those. Received: {path}"
        )
    if kind_of(_head(path)) is None:
        return Source(LIST_FILE, lambda: list_file(path))
    return _of_files([path], path.parent)


def class_folders(root: str | os.PathLike) -> Iterator[ImageRecord | SkippedImage]:
    """The images of ROOT/IDENTITY/IMAGE, in no order.

    What is no image by its name is dropped. A symbolic link may point at any place below ROOT.

    Raises:
        ValueError: if a symbolic link leads out of ROOT.
    """
    root = Path(root)
    inside = root.resolve()
    for folder in _entries(root, inside):
        if not is_text(folder.name):
            yield SkippedImage(shown(folder.name), NOT_TEXT)
        elif not folder.is_dir():
            yield SkippedImage(folder.name, f"{STRAY}, or in no class folder")
        elif not is_hidden(folder.name):
            yield from _class_folder(folder, inside)


def _class_folder(folder, inside):
    any_image = False
    for entry in _entries(folder.path, inside):
        key = f"{folder.name}/{entry.name}"
        if not is_text(entry.name):
            yield SkippedImage(shown(key), NOT_TEXT)
        elif is_image_name(entry.name) and entry.is_file():
            any_image = True
            yield ImageRecord(key, folder.name, ByteRange(entry.path, 0, entry.stat().st_size))
        else:
            yield SkippedImage(key, STRAY)
    if not any_image:
        yield SkippedImage(f"{folder.name}/", EMPTY)


def list_file(path: str | os.PathLike) -> Iterator[ImageRecord | SkippedImage]:
    """The images of a list: a line `path<TAB or space>identity` for each.

    A path is absolute, or below the folder of the list; it may hold spaces. An identity with
    spaces needs the tab. Blank lines are passed over.

    Raises:
        ValueError: naming the line, if it has another form or its path climbs out of the folder.
    """
    path = Path(path)
    for number, line in numbered_lines(path):
        try:
            key, identity = parse_listed(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        file = path.parent / key  # an absolute key stays what it is
        try:
            size = file.stat().st_size
        except (OSError, ValueError):
            yield SkippedImage(key, NO_FILE)
            continue
        yield ImageRecord(key, identity, ByteRange(str(file), 0, size))


def parse_listed(line: str) -> tuple[str, str]:
    """A line of a list file -> key, identity.

    Raises:
        ValueError: if it has another form, or its path climbs out of the folder.
    """
    name, _, identity = line.rpartition("\t" if "\t" in line else " ")
    key, identity = name.strip().replace("\\", "/"), identity.strip()
    if not key or not identity:
        raise ValueError(f"expected `path<TAB or space>identity`. Received: {line!r}")
    if ".." in key.split("/"):
        raise ValueError(f"a path may not climb out of its folder. Received: {line!r}")
    return key, identity


def kind_of(head: bytes) -> str | None:
    """The kind of file that begins with these 512 bytes; None for text.

    Raises:
        ValueError: if it is a verification set.
    """
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise ValueError(
            "The source looks like a verification set (.bin), which has no identities: "
            "`tools/evaluate.py --bin` reads it. "
            f"Received: a pickle, {head[:16]!r}..."
        )
    for start, kind in _MAGIC.items():
        if head.startswith(start):
            return kind
    return archives.TAR if head[257:262] == b"ustar" else None


def reader_of(head: bytes, name: str) -> Reader:
    """The reader of a file that begins with these 512 bytes.

    Raises:
        ValueError: if it is of no kind that holds images.
    """
    kind = kind_of(head)
    if kind is None:
        raise ValueError(
            "Expected a zip or tar archive, a .rec or a .parquet file. "
            f"Received: {name}, which is none of them"
        )
    return _READERS[kind]


_MAGIC = {
    b"PK\x03\x04": archives.ZIP,
    b"PK\x05\x06": archives.ZIP,  # an empty one
    b"PAR1": parquet.PARQUET,
    recordio.MAGIC: recordio.RECORDIO,
    b"\x1f\x8b": archives.TAR,
    b"BZh": archives.TAR,
    b"\xfd7zXZ": archives.TAR,
}
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


_READERS: dict[str, Reader] = {
    archives.ZIP: archives.zip_images,
    archives.TAR: archives.tar_images,
    recordio.RECORDIO: recordio.recordio_images,
    parquet.PARQUET: parquet.parquet_images,
}


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(512)


def _of_files(files: list[Path], root: Path) -> Source:
    heads = {path: _head(path) for path in files}
    readers = {path: reader_of(head, str(path)) for path, head in heads.items()}
    kinds = {str(kind_of(head)) for head in heads.values()}

    def images():
        for path, reader in readers.items():
            with open(path, "rb") as file:
                yield from reader(file, str(path), prefix_of(path, root))

    doubts = [doubt for path in files if path.suffix == ".rec" for doubt in _recordio_doubts(path)]
    if len(files) > 1 and recordio.RECORDIO in kinds:
        doubts.append(
            f"There are {len(files)} RecordIO files; the same label in two of them is taken for "
            "the same person."
        )
    return Source(" and ".join(sorted(kinds)), images, tuple(files), tuple(doubts))


def prefix_of(path: str | os.PathLike, root: str | os.PathLike) -> str:
    """What stands in front of the numbers of a file's images: its path below `root`."""
    return Path(path).relative_to(root).with_suffix("").as_posix() + "/"


def _recordio_doubts(path: Path) -> Iterator[str]:
    """What does not fit in the files beside a .rec; it is read without them."""
    index, numbers = path.with_suffix(".idx"), path.with_name("property")
    if index.is_file():
        with open(path, "rb") as file, open(index, encoding="utf-8", errors="replace") as lines:
            doubt = recordio.check_index(file, path.name, lines)
        if doubt:
            yield f"{index.name} does not fit {path.name} and is not used: {doubt}"
    if numbers.is_file():
        try:
            recordio.read_property(numbers.read_text(encoding="utf-8", errors="replace"))
        except ValueError as error:
            yield str(error)


def _files_in(root: Path) -> list[Path]:
    """The .rec, .parquet or archive files that a folder holds instead of class folders."""
    inside = root.resolve()
    if any(_holds_image(Path(entry.path)) for entry in _entries(root, inside) if entry.is_dir()):
        return []
    for suffixes, pattern in ((".rec", "*"), (".parquet", "**/*"), (_ARCHIVES, "*")):
        found = [
            path
            for path in root.glob(pattern)
            if path.name.lower().endswith(suffixes)
            and path.is_file()
            and not any(is_hidden(part) for part in path.relative_to(root).parts)
        ]
        if found:
            return sorted(found)
    return []


def _holds_image(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_image_name(entry.name) for entry in entries)


def _entries(folder: str | Path, inside: Path) -> Iterator[os.DirEntry]:
    """What a folder holds, one after the other: there may be millions."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(inside):
                raise ValueError(
                    "A symbolic link in the source leads out of it; a list file may name images "
                    f"that lie elsewhere. Received: {entry.path} -> {os.readlink(entry.path)}"
                )
            yield entry
