"""Sources of images wherever the file systems of Apache Beam reach."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from apache_beam.io.filesystem import BeamIOError

from keras_sphereface.data import filenames
from keras_sphereface.data.conversion.beam_files import (
    exists,
    is_local,
    join,
    local_file,
    match,
    open_file,
)
from keras_sphereface.data.conversion.exclusions import Exclusions
from keras_sphereface.data.conversion.steps import Excluded, exclude
from keras_sphereface.data.readers import list_file, open_source, recordio, registry
from keras_sphereface.data.readers.base64_table import (
    FIRST_LINE_BYTES,
    holds_base64_image,
    read_base64_table,
)
from keras_sphereface.data.readers.class_folders import read_class_folders
from keras_sphereface.data.readers.source import key_prefix
from keras_sphereface.data.types import (
    MAX_IMAGE_BYTES,
    TOO_LARGE,
    ByteRange,
    ImageRecord,
    SkippedImage,
)
from keras_sphereface.utils.text import encoding_of_head

UNKNOWN_SIZE = -1  # of an image that a list file names
_DEPTHS = ("", "*/")  # of the files of a source, below its folder


class SourceFile(NamedTuple):
    """A portion of a source that one worker reads: class folders, a list, or another file.

    Attributes:
        kind: Str. Kind of source.
        path: Str. Path of the file or folder.
        prefix: Str. Prefix of keys that are mere numbers.
        root: Str. Folder that the paths of a list are relative to; "": that of the list.
        list_columns: Str. Names of the columns of a list; "": recognize them.
    """

    kind: str
    path: str
    prefix: str = ""
    root: str = ""
    list_columns: str = ""


class SourceSummary(NamedTuple):
    """The kind of a source, and what is known of all its files; as of `Source`."""

    kind: str
    warnings: tuple[str, ...] = ()
    promised: recordio.RecordioProperty | None = None


def find_source(
    source: str, root: str = "", list_columns: str = ""
) -> tuple[SourceSummary, list[SourceFile]]:
    """Return what is known of a source, and its files.

    On this machine's disk `open_source` recognizes the kind. Elsewhere a source is a file, a
    pattern of files, a folder that holds .rec or .parquet files or archives of one suffix, or else
    class folders.

    Raises:
        FileNotFoundError, ValueError: if the source is of no known kind.
    """
    if is_local(source):
        path = Path(os.path.abspath(source))
        opened = open_source(path, root, list_columns)
        folder = str(path if path.is_dir() else path.parent)
        files = [SourceFile(opened.kind, str(f), key_prefix(f, folder)) for f in opened.files]
        whole = SourceFile(opened.kind, str(path), "", root and os.path.abspath(root), list_columns)
        summary = SourceSummary(opened.kind, opened.warnings, opened.promised)
        return summary, files or [whole]
    is_file = "*" in source or (exists(source) and _is_file(source))
    names = [
        f"{depth}*{suffix}" for suffix in _suffixes("RecordIO", "parquet") for depth in _DEPTHS
    ]
    if not is_file and not match(join(source, "*/*"), limit=1):
        names += [f"*{suffix}" for suffix in _suffixes("zip archive", "tar archive")]
    for pattern in [source] if is_file else [join(source, name) for name in names]:
        if paths := [metadata.path for metadata in match(pattern)]:
            folder = os.path.commonpath([path.rpartition("/")[0] for path in paths])
            kinds = [registry.kind_of(_head(path)) or _kind_of_text(path) for path in paths]
            files = [
                SourceFile(kind, path, key_prefix(path, folder), root, list_columns)
                for kind, path in zip(kinds, paths, strict=True)
            ]
            return SourceSummary(" and ".join(sorted(set(kinds)))), files
    if not match(join(source, "*/*"), limit=1):
        raise FileNotFoundError(
            "The source must hold class folders (SOURCE/IDENTITY/IMAGE), .rec or .parquet files or "
            f"archives, or be a file. Received: {source}"
        )
    summary = SourceSummary(registry.CLASS_FOLDERS)
    return summary, [SourceFile(registry.CLASS_FOLDERS, source)]


def _suffixes(*kinds: str) -> list[str]:
    return [suffix for kind in kinds for suffix in registry.FILE_KINDS[kind].suffixes]


def read_wanted(
    file: SourceFile, exclusions: Exclusions
) -> Iterator[ImageRecord | SkippedImage | Excluded]:
    """Yield the entries of a portion of a source, those left out as `Excluded`."""
    return exclude(read_source_file(file), exclusions)


def read_source_file(file: SourceFile) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the entries of a portion of a source."""
    if file.kind == registry.CLASS_FOLDERS:
        yield from (read_class_folders if is_local(file.path) else _remote_folders)(file.path)
        return
    if file.kind == registry.BASE64_TABLE:
        with local_file(file.path) as path:
            yield from read_base64_table(path)
        return
    if file.kind == registry.LIST_FILE and is_local(file.path) and is_local(file.root):
        yield from list_file.read_list_file(file.path, file.root, file.list_columns)
        return
    if file.kind != registry.LIST_FILE:
        read = registry.reader_of(_head(file.path), file.path)
        with open_file(file.path) as opened:
            yield from read(opened, file.path, file.prefix)
        return
    folder = file.root or file.path.rpartition("/")[0]
    root = Path(folder) if is_local(folder) else None
    layout = list_file.find_list_layout(file.path, _lines(file.path), root, file.list_columns)
    for _, key, identity in list_file.list_entries(file.path, layout, _lines(file.path)):
        path = key if key.startswith("/") or "://" in key else join(folder, key)
        yield ImageRecord(key, identity, ByteRange(path, 0, UNKNOWN_SIZE))


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line without white space around it) of the lines but the blank."""
    encoding = encoding_of_head(_head(path))
    with io.TextIOWrapper(open_file(path), encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if stripped := line.strip():
                yield number, stripped


def _remote_folders(root: str) -> Iterator[ImageRecord | SkippedImage]:
    """Yield class folders where there are no folders, only names with slashes."""
    for metadata in match(join(root, "*/*")):
        identity, name = metadata.path.split("/")[-2:]
        if filenames.is_hidden(identity):
            continue
        if filenames.is_image_name(name):
            content = ByteRange(metadata.path, 0, metadata.size_in_bytes)
            yield ImageRecord(f"{identity}/{name}", identity, content)
        else:
            yield SkippedImage(f"{identity}/{name}", filenames.NO_IMAGE_SUFFIX)


def load_content(image: ImageRecord) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the image with its bytes in place of the file that holds them."""
    content = image.content
    if not isinstance(content, ByteRange):
        yield image
        return
    is_listed = content.size == UNKNOWN_SIZE
    try:
        with open_file(content.file) as file:
            encoded = file.read(MAX_IMAGE_BYTES + 1) if is_listed else content.read(file)
        if len(encoded) > MAX_IMAGE_BYTES:
            raise ValueError(TOO_LARGE)
        yield image._replace(content=encoded)
    except ValueError as error:
        yield SkippedImage(image.key, f"cannot be used: {error}")
    except (BeamIOError, OSError):
        # Any other failure is not the image's: Beam does the bundle again.
        if not is_listed or exists(content.file):
            raise
        yield SkippedImage(image.key, list_file.NO_FILE)


def _kind_of_text(path: str) -> str:
    with open_file(path) as file:
        is_table = holds_base64_image(file.read(FIRST_LINE_BYTES))
    return registry.BASE64_TABLE if is_table else registry.LIST_FILE


def _is_file(path: str) -> bool:
    """Return whether an existing path is a file; a folder is nothing to read, or empty."""
    try:
        return bool(_head(path))
    except IsADirectoryError:
        return False


def _head(path: str) -> bytes:
    with open_file(path) as file:
        return file.read(registry.HEAD_BYTES)
