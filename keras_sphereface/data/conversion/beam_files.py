"""Files wherever the file systems of Apache Beam reach."""

import contextlib
import io
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from keras_sphereface.data import landmarks, records, tfrecord

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
    """Create a file that gets its name when the block ends; it may be written again.

    A block that fails leaves nothing.
    """
    partial = f"{path}.{uuid.uuid4().hex}"
    try:
        with FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield file
    except BaseException:
        # The first error is the one to report.
        with contextlib.suppress(BeamIOError, OSError):
            FileSystems.delete([partial])
        raise
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
    """Make the output folder, and remove the shards of a run that did not end.

    Raises:
        FileExistsError: if the folder holds records.
    """
    if exists(join(out, records.INFO_FILE)):
        raise FileExistsError(
            "The output folder holds records, which a run on Beam does not replace; set --out to a "
            f"new folder. Received: {out}"
        )
    with contextlib.suppress(BeamIOError, OSError):  # it exists already
        FileSystems.mkdirs(out)
    if leftover := [metadata.path for metadata in match(join(out, "train-*.tfrecord"))]:
        FileSystems.delete(leftover)


def read_remote_info(out: str) -> records.DatasetInfo:
    """Return the contents of OUT/dataset.json."""
    with open_file(join(out, records.INFO_FILE)) as file:
        return records.info_from_json(file.read().decode(), out)


@contextlib.contextmanager
def local_file(path: str, max_bytes: int = -1) -> Iterator[str]:
    """Give the path of a file, or of a copy on this machine while the block runs; "" stays "".

    Args:
        path: Path, or "".
        max_bytes: Int. Bytes that are copied, up to the end of a line; -1: all.
    """
    if not path or is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.rpartition("/")[2]
        with open_file(path) as remote, open(copy, "wb") as local:
            if max_bytes < 0:
                shutil.copyfileobj(remote, local, 1 << 20)
            else:
                head = remote.read(max_bytes)
                local.write(head[: head.rfind(b"\n") + 1] if len(head) == max_bytes else head)
        yield str(copy)


def read_remote_landmarks(pipeline: beam.Pipeline, path: str, columns: str = "") -> Any:
    """Return the collection of the (key, points) of a landmark file.

    Args:
        pipeline: Pipeline.
        path: Str. Path of the file.
        columns: Str. Names of its columns; "": found out here, from its first lines.
    """
    with io.TextIOWrapper(open_file(path), "utf-8-sig") as file:
        lines = enumerate(map(str.strip, file), start=1)
        layout, first = landmarks.find_layout(path, filter(lambda line: line[1], lines), columns)
    skip = beam.io.ReadFromText(path, skip_header_lines=first - 1)
    lines = pipeline | skip | "Not blank" >> beam.Filter(str.strip)
    return lines | beam.Map(lambda line: layout.parse(line.strip().lstrip("\ufeff")))


def write_remote_shard(group: Any, num_shards: int, out: str) -> Any:
    """Write a shard of (number, records after their ranks and keys); return its `Shard`.

    The records are sorted in memory; None among them is ignored.
    """
    number, entries = group
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / records.shard_name(number, num_shards)
        with tfrecord.ShardWriter(path) as writer:
            for *_, record in sorted(entry for entry in entries if entry is not None):
                writer.write(record)
        with open(path, "rb") as local, atomic_remote_file(join(out, path.name)) as remote:
            shutil.copyfileobj(local, remote, 1 << 20)
        return writer.shard
