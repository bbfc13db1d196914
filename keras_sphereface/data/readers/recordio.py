"""Faces in a RecordIO file (`train.rec`), as MXNet and InsightFace pack them; without MXNet.

A record is one part or several. A part: the magic; 3 bits of flag and 29 of length; the payload;
zeros up to the next multiple of 4. Numbers are little endian. Where the magic itself stands in a
payload, at a multiple of 4, the writer ends the part and leaves the magic out.
The payload: uint32 number of labels, float32 label, two uint64 ids; that many float32 labels,
which replace the single one if there are any; the encoded image.

Reference: MXNet, `mxnet.recordio.MXIndexedRecordIO` and dmlc-core, `recordio.h`.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from keras_sphereface.data.types import (
    MAX_IMAGE_BYTES,
    TOO_LARGE,
    ByteRange,
    ImageRecord,
    SkippedImage,
)

MAGIC = struct.pack("<I", 0xCED7230A)
_PART = struct.Struct("<4sI")
_HEADER = struct.Struct("<IfQQ")
_LABEL = struct.Struct("<f")
# The header and two labels: all that is read of a record whose image is one part.
_HEAD_BYTES = _HEADER.size + 2 * _LABEL.size

# Flags.
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)

_TOO_SHORT = "the record is too short for its header and labels"
_NO_IMAGE = "the record holds no image"
_NO_IDENTITY = "the label is not a whole number >= 0"


class RecordioProperty(NamedTuple):
    """What a file `property` says of the RecordIO files beside it: identities and pixels."""

    num_identities: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


class _Part(NamedTuple):
    """A part of a record: its flag, and the place, size and first bytes of its payload."""

    flag: int
    start: int
    size: int
    head: bytes

    @property
    def end(self) -> int:
        """Offset of the next part, behind the padding."""
        return self.start + -(-self.size // 4) * 4


def read_recordio(file: BinaryIO, name: str, prefix: str) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of a RecordIO file in its order, as byte ranges.

    A file may begin with a header record, which holds no image but two labels: the range of the
    identity records, which hold no image either. Neither is yielded. The label of an image, or
    the first of its labels, is the identity. An image whose record is split comes as bytes.

    Args:
        file: The open file; it must be able to seek, and may be read elsewhere between images.
        name: Str. Its path, for messages and byte ranges.
        prefix: Str. The key of an image is this and the number of its record, from 0, as in
            `train.idx`.

    Raises:
        ValueError: naming file and byte offset, if the file is no RecordIO file or is damaged.

    Example:

    >>> payload = struct.pack("<IfQQ", 0, 7.0, 0, 0) + b"a face.."
    >>> with open("train.rec", "wb") as file:
    ...     _ = file.write(MAGIC + struct.pack("<I", len(payload)) + payload)
    >>> with open("train.rec", "rb") as file:
    ...     [image] = read_recordio(file, "train.rec", "train/")
    >>> image.key, image.identity, image.content.offset
    ('train/00000000', '7', 32)
    """
    file.seek(0)
    if (start := file.read(len(MAGIC))) != MAGIC:
        raise ValueError(
            f"{name} is not a RecordIO file, which begins with {MAGIC!r}. Received: {start!r}"
        )
    identity_records = range(0)
    for number, parts in enumerate(_records(file, name)):
        key = f"{prefix}{number:08d}"
        size = sum(part.size for part in parts) + len(MAGIC) * (len(parts) - 1)
        if len(parts) > 1 and size > MAX_IMAGE_BYTES:  # the few bytes of labels included
            yield SkippedImage(key, TOO_LARGE)
            continue
        joined = b"" if len(parts) == 1 else _join(file, parts)
        labels, image_start = _labels(joined or parts[0].head, size)
        if size < image_start:
            yield SkippedImage(key, _TOO_SHORT)
        elif size == image_start and number in identity_records:
            pass
        elif size == image_start and (number > 0 or len(labels) < 2):
            yield SkippedImage(key, _NO_IMAGE)
        elif not all(label >= 0 and label.is_integer() for label in labels):
            yield SkippedImage(key, _NO_IDENTITY)
        elif size == image_start:
            identity_records = _header_range(int(labels[0]), int(labels[1]))
        elif size - image_start > MAX_IMAGE_BYTES:
            yield SkippedImage(key, TOO_LARGE)
        else:
            place = ByteRange(name, parts[0].start + image_start, size - image_start)
            yield ImageRecord(key, str(int(labels[0])), joined[image_start:] or place)


def check_index(file: BinaryIO, name: str, index: Iterable[str]) -> str | None:
    """Return what does not fit between a RecordIO file and the lines of its `train.idx`.

    Each line must be a key, a tab and the offset of a record, in any order, and the records must
    fill the file.
    """
    file_size = file.seek(0, os.SEEK_END)
    covered = 0
    for number, line in enumerate(index, 1):
        # 18 digits are more than any file has bytes.
        match = re.fullmatch(r"[0-9]{1,18}\t([0-9]{1,18})", line.rstrip("\r\n"))
        if match is None:
            return (
                f"line {number} of the index of {name} must be a key, a tab and an offset. "
                f"Received: {line[:80]!r}"
            )
        offset = int(match[1])
        try:
            covered += _parts_at(file, name, offset, file_size)[-1].end - offset
        except ValueError:
            return (
                f"line {number} of the index of {name} must point to a record. "
                f"Received: offset {offset}, where no whole record begins"
            )
    if covered != file_size:
        return (
            f"the records in the index of {name} must fill the file. "
            f"Received: {covered} of {file_size} bytes"
        )
    return None


def read_property(text: str) -> RecordioProperty:
    """Return what the text of a `property` file says: `num_classes,height,width`.

    Raises:
        ValueError: if it is anything else than three whole numbers > 0 with commas between them.
    """
    match = re.fullmatch(r"([0-9]{1,18}),([0-9]{1,18}),([0-9]{1,18})", text.strip())
    numbers = [int(group) for group in match.groups()] if match else []
    if not numbers or 0 in numbers:
        raise ValueError(
            f"`property` must be three numbers, num_classes,height,width. Received: {text[:80]!r}"
        )
    return RecordioProperty(*numbers)


def _labels(head: bytes, size: int) -> tuple[tuple[float, ...], int]:
    """Return the one label that counts, or the two of a header record; and where the image begins.

    The image of a payload that is too short begins behind its end.

    Args:
        head: The first bytes of the payload.
        size: Its length.
    """
    if size < _HEADER.size:
        return (), _HEADER.size
    num_labels, label, _, _ = _HEADER.unpack_from(head)
    image_start = _HEADER.size + num_labels * _LABEL.size
    if num_labels == 0 or image_start > size:
        return (label,), image_start
    count = 2 if num_labels >= 2 and image_start == size else 1
    return struct.unpack_from(f"<{count}f", head, _HEADER.size), image_start


def _header_range(first: int, end: int) -> range:
    # From 2^24 on, float32 holds only every second number, from 2^25 on every fourth: the ends of
    # a large file's range may be off by half of that.
    rounding = end >> 24
    return range(first - rounding, end + rounding)


def _records(file: BinaryIO, name: str) -> Iterator[list[_Part]]:
    """Yield the parts of each record."""
    file_size = file.seek(0, os.SEEK_END)
    offset = 0
    while offset < file_size:
        parts = _parts_at(file, name, offset, file_size)
        yield parts
        offset = parts[-1].end


def _parts_at(file: BinaryIO, name: str, offset: int, file_size: int) -> list[_Part]:
    """Return the parts of the record at `offset`; raise a ValueError if it is damaged."""
    parts = [_part_at(file, name, offset, file_size)]
    if parts[0].flag not in (_WHOLE, _FIRST):
        raise _damage(name, offset, "the record has no first part")
    while parts[-1].flag in (_FIRST, _MIDDLE):
        offset = parts[-1].end
        parts.append(_part_at(file, name, offset, file_size))
        if parts[-1].flag not in (_MIDDLE, _LAST):
            raise _damage(name, offset, "a later part of the record before is missing")
    return parts


def _part_at(file: BinaryIO, name: str, offset: int, file_size: int) -> _Part:
    file.seek(offset)
    # One read for all: a seek drops the read-ahead only if it leads out of it.
    content = file.read(_PART.size + _HEAD_BYTES)
    if len(content) < _PART.size:
        raise _damage(name, offset, "the file ends in the middle of a record")
    magic, flag_and_size = _PART.unpack_from(content)
    flag, size = flag_and_size >> 29, flag_and_size & (1 << 29) - 1
    if magic != MAGIC or flag > _LAST:
        raise _damage(name, offset, "no record begins there")
    part = _Part(flag, offset + _PART.size, size, content[_PART.size :])
    if part.start + size > file_size:
        raise _damage(name, offset, "the file ends in the middle of a record")
    return part


def _damage(name: str, offset: int, problem: str) -> ValueError:
    return ValueError(
        f"{name} is damaged at byte {offset}: {problem}. Copy or download the file again."
    )


def _join(file: BinaryIO, parts: list[_Part]) -> bytes:
    """Return the payload of a split record, with the magic that the writer left out."""
    contents = []
    for part in parts:
        file.seek(part.start)
        contents.append(file.read(part.size))
    return MAGIC.join(contents)
