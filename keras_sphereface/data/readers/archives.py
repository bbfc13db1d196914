"""Images in zip and tar archives of class folders, read without unpacking them to the disk."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from keras_sphereface.data.filenames import (
    NO_IMAGE_SUFFIX,
    NOT_UTF8,
    is_hidden,
    is_image_name,
    is_utf8,
    with_question_marks,
)
from keras_sphereface.data.images import looks_like_image
from keras_sphereface.data.types import (
    MAX_IMAGE_BYTES,
    TOO_LARGE,
    ByteRange,
    ImageRecord,
    SkippedImage,
)

MAX_NAME_BYTES = 2**16  # of the name of an entry and its other metadata
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
_LOST = "the archive is damaged from here on"


def read_zip(file: BinaryIO, name: str, prefix: str = "") -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of .../IDENTITY/IMAGE in a zip archive, in the archive's order.

    The key of an image is IDENTITY/IMAGE, whatever folders lie above. The directory of the
    archive is held in memory, half a kilobyte an entry.

    Args:
        file: The open archive.
        name: Str. Its path, for messages.
        prefix: Not used; keys are names.

    Raises:
        ValueError: if the archive is damaged or encrypted, or the path of an entry leads out of it.

    Example:

    >>> import zipfile
    >>> with zipfile.ZipFile("faces.zip", "w") as archive:
    ...     archive.write("faces/images/person_0001/person_0001_0001.jpg", "train/ada/1.jpg")
    >>> with open("faces.zip", "rb") as file:
    ...     [(image.key, image.identity) for image in read_zip(file, "faces.zip")]
    [('ada/1.jpg', 'ada')]
    """
    try:
        archive = zipfile.ZipFile(file)
    except (*_DAMAGE, NotImplementedError, ValueError) as error:
        raise ValueError(
            f"{name} is not a zip archive that can be read. Received: {error}"
        ) from None
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        place = _place(entry.filename, name)
        if entry.flag_bits & 1:
            raise ValueError(f"{name} is encrypted. Received: {entry.filename}")
        if isinstance(place, SkippedImage):
            yield place
        elif stat.S_ISLNK(entry.external_attr >> 16):
            yield SkippedImage(place[0], "a link")
        elif entry.file_size > MAX_IMAGE_BYTES:
            yield SkippedImage(place[0], TOO_LARGE)
        else:
            yield _inflated(archive, entry, *place)


def _inflated(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, key: str, identity: str
) -> ImageRecord | SkippedImage:
    try:
        with archive.open(entry) as stored:
            # One byte more than the directory states: the remainder of a zip bomb is not read.
            content = stored.read(entry.file_size + 1)
    except (*_DAMAGE, NotImplementedError, ValueError):
        return SkippedImage(key, "the archive is damaged here")
    return _image(key, identity, content)


def read_tar(file: BinaryIO, name: str, prefix: str = "") -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of .../IDENTITY/IMAGE in a tar archive, compressed or not, in its order.

    Args:
        file: The open archive.
        name: Str. Its path, for messages and byte ranges.
        prefix: Not used; keys are names.

    Raises:
        ValueError: if the archive is damaged from the start, or the path of an entry leads out
            of it.

    Example:

    >>> with tarfile.open("faces.tar", "w") as archive:
    ...     archive.add("faces/images/person_0001/person_0001_0001.jpg", "ada/1.jpg")
    >>> with open("faces.tar", "rb") as file:
    ...     [(image.key, image.identity) for image in read_tar(file, "faces.tar")]
    [('ada/1.jpg', 'ada')]
    """
    compressed = file.read(263)[257:262] != b"ustar"
    file.seek(0)
    try:
        archive = tarfile.open(fileobj=file, mode="r:*", tarinfo=_Entry)
    except _DAMAGE as error:
        raise ValueError(
            f"{name} is not a tar archive that can be read. Received: {error}"
        ) from None
    while True:
        try:
            entry = archive.next()
            if entry is None:
                if not _ends_well(archive):
                    yield SkippedImage(name, _LOST)
                return
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all entries
            if entry.isdir():
                continue
            place = _place(entry.name, name)
            if entry.issym() or entry.islnk():
                target = entry.linkname if entry.islnk() else f"{entry.name}/../{entry.linkname}"
                _check_inside(target, name)
                yield SkippedImage(_key(place), "a link")
            elif isinstance(place, SkippedImage):
                yield place
            elif not entry.isreg():
                yield SkippedImage(place[0], "not a regular file")
            elif entry.size > MAX_IMAGE_BYTES:
                yield SkippedImage(place[0], TOO_LARGE)
            elif compressed or entry.issparse():
                content = archive.extractfile(entry)
                yield _image(*place, content.read() if content else b"")
            else:
                yield ImageRecord(*place, ByteRange(name, entry.offset_data, entry.size))
        except _DAMAGE:
            yield SkippedImage(name, _LOST)
            return


class _Entry(tarfile.TarInfo):
    """An entry of a tar archive whose name must not fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Entry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _LONG_NAMES and entry.size > MAX_NAME_BYTES:
            raise ValueError(
                f"A tar archive must not have entries whose names take more than {MAX_NAME_BYTES} "
                f"bytes. Received: {entry.size}"
            )
        return entry


_LONG_NAMES = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


def _ends_well(archive: tarfile.TarFile) -> bool:
    """Return whether an end mark stands where `tarfile` found no further entry."""
    file: Any = archive.fileobj
    file.seek(archive.offset)
    return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _image(key: str, identity: str, content: bytes) -> ImageRecord | SkippedImage:
    # Decompressed bytes of another kind must not fill the disk.
    if content and not looks_like_image(content):
        return SkippedImage(key, "the first bytes are not those of an image")
    return ImageRecord(key, identity, content)


def _place(path: str, archive: str) -> tuple[str, str] | SkippedImage:
    """Return the key and the identity of an entry, or why it has none."""
    parts = _check_inside(path, archive)
    whole = "/".join(parts)
    if any(map(is_hidden, parts)):
        return SkippedImage(with_question_marks(whole), NO_IMAGE_SUFFIX)
    if not is_utf8(whole):
        return SkippedImage(with_question_marks(whole), NOT_UTF8)
    if not is_image_name(parts[-1]):
        return SkippedImage(whole, NO_IMAGE_SUFFIX)
    if len(parts) < 2:
        return SkippedImage(whole, "the image is in no class folder")
    return f"{parts[-2]}/{parts[-1]}", parts[-2]


def _key(place: tuple[str, str] | SkippedImage) -> str:
    return place.key if isinstance(place, SkippedImage) else place[0]


def _check_inside(path: str, archive: str) -> list[str]:
    """Return the parts of a path, or raise if it leads out of the archive."""
    parts: list[str] = []
    slashed = path.replace("\\", "/")
    climbs = slashed.startswith("/") or slashed[1:2] == ":"
    for part in slashed.split("/"):
        if part == "..":
            climbs = climbs or not parts
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    if climbs or not parts:
        raise ValueError(
            f"{archive} must not hold an entry whose path leads out of it. Received: {path!r}"
        )
    return parts
