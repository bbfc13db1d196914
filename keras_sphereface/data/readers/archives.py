"""Images in zip and tar archives of class folders, read without unpacking them."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from keras_sphereface.data.images import looks_like_image
from keras_sphereface.data.readers.filenames import (
    NOT_TEXT,
    STRAY,
    is_hidden,
    is_image_name,
    is_text,
    shown,
)
from keras_sphereface.data.types import (
    MAX_IMAGE_BYTES,
    TOO_LARGE,
    ByteRange,
    ImageRecord,
    SkippedImage,
)

ZIP, TAR = "zip archive", "tar archive"
MAX_NAME_BYTES = 2**16  # of the name of an entry and all that is said of it
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
_LOST = "the archive is damaged, and what follows is lost"


def zip_images(file: BinaryIO, name: str, prefix: str = "") -> Iterator[ImageRecord | SkippedImage]:
    """The images of .../IDENTITY/IMAGE in a zip archive, in the archive's order.

    The key of an image is IDENTITY/IMAGE, whatever folders lie above, and without `prefix`. The
    directory of the archive is held in memory, half a kilobyte an entry.

    Raises:
        ValueError: if the archive is damaged or encrypted, or an entry would climb out of it.
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


def _inflated(archive, entry, key, identity):
    try:
        with archive.open(entry) as stored:
            # One byte more than it says: what a bomb holds beyond is not read.
            content = stored.read(entry.file_size + 1)
    except (*_DAMAGE, NotImplementedError, ValueError):
        return SkippedImage(key, "the archive is damaged here")
    return _image(key, identity, content)


def tar_images(file: BinaryIO, name: str, prefix: str = "") -> Iterator[ImageRecord | SkippedImage]:
    """The images of .../IDENTITY/IMAGE in a tar archive, compressed or not, in its order.

    Raises:
        ValueError: if the archive is damaged from the start, or an entry would climb out of it.
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
            archive.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
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
                yield SkippedImage(place[0], "no ordinary file")
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
    """An entry of a tar archive whose name is not made to fill the memory."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
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


def _ends_well(archive) -> bool:
    """Whether there is an end mark where `tarfile` found no further entry."""
    archive.fileobj.seek(archive.offset)
    return archive.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _image(key, identity, content):
    # What is no image must not fill the disk.
    if content and not looks_like_image(content):
        return SkippedImage(key, "no image by its first bytes")
    return ImageRecord(key, identity, content)


def _place(path: str, archive: str) -> tuple[str, str] | SkippedImage:
    """An entry's key and identity, or why it has none."""
    parts = _check_inside(path, archive)
    whole = "/".join(parts)
    if any(map(is_hidden, parts)):
        return SkippedImage(shown(whole), STRAY)
    if not is_text(whole):
        return SkippedImage(shown(whole), NOT_TEXT)
    if not is_image_name(parts[-1]):
        return SkippedImage(whole, STRAY)
    if len(parts) < 2:
        return SkippedImage(whole, "in no class folder")
    return f"{parts[-2]}/{parts[-1]}", parts[-2]


def _key(place):
    return place.key if isinstance(place, SkippedImage) else place[0]


def _check_inside(path: str, archive: str) -> list[str]:
    """The parts of a path that stays inside of the archive."""
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
        raise ValueError(f"{archive} holds an entry that lies outside of it. Received: {path!r}")
    return parts
