"""The kinds of files that hold images, recognized by their first bytes."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import BinaryIO

from keras_sphereface.data.readers.archives import read_tar, read_zip
from keras_sphereface.data.readers.parquet import read_parquet
from keras_sphereface.data.readers.recordio import MAGIC, read_recordio
from keras_sphereface.data.types import ImageRecord, SkippedImage

# (open file, its name, prefix of keys that are mere numbers) -> images.
Reader = Callable[[BinaryIO, str, str], Iterator[ImageRecord | SkippedImage]]

# Sources that are not one file of images; `config.choices.SOURCE_KINDS` describes all kinds.
CLASS_FOLDERS, LIST_FILE, BASE64_TABLE = "class folders", "list file", "base64 table"
HEAD_BYTES = 512  # from which a kind is recognized


@dataclasses.dataclass(frozen=True)
class FileKind:
    """A kind of file that holds images.

    Attributes:
        read: Reader of an open file.
        magic: First bytes of such a file.
        suffixes: Suffixes by which files of the kind are found in a folder.
    """

    read: Reader
    magic: tuple[bytes, ...]
    suffixes: tuple[str, ...]


FILE_KINDS: dict[str, FileKind] = {
    "zip archive": FileKind(read_zip, (b"PK\x03\x04", b"PK\x05\x06"), (".zip",)),
    "tar archive": FileKind(
        read_tar,
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),  # gzip, bzip2, xz; a plain one has "ustar" at 257
        (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"),
    ),
    "RecordIO": FileKind(read_recordio, (MAGIC,), (".rec",)),
    "parquet": FileKind(read_parquet, (b"PAR1",), (".parquet",)),
}


def kind_of(head: bytes) -> str | None:
    """Return the kind of the file that begins with these 512 bytes; None for text.

    Raises:
        ValueError: if it is a verification set.
    """
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise ValueError(
            "The source looks like a verification set (.bin), which has no identities: "
            "`sphereface evaluate --bin` reads it. "
            f"Received: a pickle, {head[:16]!r}..."
        )
    for name, kind in FILE_KINDS.items():
        if head.startswith(kind.magic):
            return name
    return "tar archive" if head[257:262] == b"ustar" else None


def reader_of(head: bytes, name: str) -> Reader:
    """Return the reader of the file `name` that begins with these 512 bytes.

    Raises:
        ValueError: if it is of no kind that holds images.
    """
    kind = kind_of(head)
    if kind is None:
        raise ValueError(
            "Expected a zip or tar archive, a .rec or a .parquet file. "
            f"Received: {name}, which is none of them"
        )
    return FILE_KINDS[kind].read
