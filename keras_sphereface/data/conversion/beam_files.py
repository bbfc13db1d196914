"""Files wherever the file systems of Apache Beam reach."""

import contextlib
import io
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

join, exists = FileSystems.join, FileSystems.exists


def is_local(path: str) -> bool:
    """Return whether a path is one of this machine, and no pattern."""
    return "://" not in path and "*" not in path


def open_file(path: str) -> BinaryIO:
    """Open a file for reading; the readers look at its bytes, so it is never decompressed."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def match(pattern: str, limit: int | None = None) -> list[Any]:
    """Return the metadata of the files that match a pattern."""
    (result,) = FileSystems.match([pattern], limits=[limit])
    return result.metadata_list


@contextlib.contextmanager
def atomic_remote_file(path: str) -> Iterator[BinaryIO]:
    """Create a file that gets its name when the block ends; it may be written again."""
    partial = f"{path}.{uuid.uuid4().hex}"
    with FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        yield file
    if exists(path):
        FileSystems.delete([path])
    FileSystems.rename([partial], [path])


@contextlib.contextmanager
def atomic_remote_text(path: str) -> Iterator[TextIO]:
    """Create a text file as `atomic_remote_file` does."""
    with atomic_remote_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        yield text
        text.detach()


def prepare_output(out: str) -> None:
    """Make the output folder, and remove the shards that a run left that did not end."""
    with contextlib.suppress(BeamIOError, OSError):  # it exists already
        FileSystems.mkdirs(out)
    if leftover := [metadata.path for metadata in match(join(out, "train-*.tfrecord"))]:
        FileSystems.delete(leftover)


@contextlib.contextmanager
def local_copies(*paths: str) -> Iterator[list[str]]:
    """Copy files to this machine while the block runs; "" stays ""."""
    with tempfile.TemporaryDirectory() as folder:
        copies = [str(Path(folder) / str(i)) if path else "" for i, path in enumerate(paths)]
        for path, copy in zip(paths, copies, strict=True):
            if path:
                with open_file(path) as file:
                    Path(copy).write_bytes(file.read())
        yield copies
