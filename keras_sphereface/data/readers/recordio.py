"""Faces in a RecordIO file (`train.rec`), as MXNet packs them, read without MXNet.

A record is one part or several. A part: the magic; 3 bits of flag and 29 of length; the payload;
zeros up to the next multiple of 4. Numbers are little endian. Where the magic itself stands in a
payload, at a multiple of 4, the writer ends the part and leaves it out; so the magic at a multiple
of 4 is always the beginning of a part, and a reader that has lost its way finds the next record.
The payload: uint32 number of labels, float32 label, two uint64 ids; that many float32 labels,
which stand for the single one if there are any; the encoded image.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from keras_sphereface.data.types import MAX_IMAGE_BYTES, ByteRange, ImageRecord, SkippedImage

RECORDIO = "RecordIO"
MAGIC = struct.pack("<I", 0xCED7230A)
_PART = struct.Struct("<4sI")
_HEADER = struct.Struct("<IfQQ")
_LABEL = struct.Struct("<f")
# The header and two labels: all that is ever looked at in front of an image.
_START_BYTES = _HEADER.size + 2 * _LABEL.size
# A multiple of 4, so that no magic that counts lies across two; small, as gaps may lie close.
_SEARCH_BYTES = 8192

# Flags.
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)

# Reasons, without numbers, so that they can be counted.
_ENDS = "the file ends in the middle of a record"
_NO_RECORD = "bytes that are no record"
_NO_FIRST_PART = "the record has no first part"
_NO_LATER_PART = "a later part of the record is missing"
_TOO_SHORT = "the record is too short for its header and labels"
_NO_IMAGE = "the record holds no image"
_NO_IDENTITY = "the label is not a whole number >= 0"
_TOO_LARGE = "the image is too large"


class _Payload(NamedTuple):
    """The payload of a record.

    Attributes:
        size: in bytes.
        start: its first bytes, up to the second label or more.
        place: its offset in the file, or all of it if it was split.
    """

    size: int
    start: bytes
    place: int | bytes


def recordio_images(file: BinaryIO, name: str, prefix: str) -> Iterator[ImageRecord | SkippedImage]:
    """The images of a RecordIO file, in its order, found without reading them.

    A file may begin with a header record, which holds no image but two labels: the range of the
    identity records, which hold none either. Both are passed over. The label of an image, or the
    first of its labels, is the identity.

    `file` may be read elsewhere between two images. What is damaged is left out and named; a
    run of bytes that are no record counts as one.

    Args:
        file: the open file; it must be able to seek.
        name: its path, for the spans.
        prefix: stands in front of the keys; after it comes the number of the record in the file,
            from 0, as in `train.idx`.

    Yields:
        The image as a span of the file, or as bytes if the record is split; or what was left
        out and why.

    Raises:
        ValueError: if there is no record in the file.
    """
    file_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    begin = file.read(len(MAGIC))
    if begin != MAGIC and _next_record(file, 0, file_size) is None:
        raise ValueError(
            f"{name} is not a RecordIO file, which begins with {MAGIC!r}. Received: {begin!r}"
        )
    identity_records = range(0)
    for number, payload in enumerate(_payloads(file, file_size)):
        key = f"{prefix}{number:08d}"
        if isinstance(payload, str):
            yield SkippedImage(key, payload)
            continue
        labels, image_start = _labels(payload)
        image_size = payload.size - image_start
        if image_size < 0:
            yield SkippedImage(key, _TOO_SHORT)
        elif image_size == 0 and number in identity_records:
            pass
        elif image_size == 0 and (number > 0 or len(labels) < 2):
            yield SkippedImage(key, _NO_IMAGE)
        elif not all(label >= 0 and label.is_integer() for label in labels):
            yield SkippedImage(key, _NO_IDENTITY)
        elif image_size == 0:
            identity_records = _header_range(int(labels[0]), int(labels[1]))
        elif image_size > MAX_IMAGE_BYTES:
            yield SkippedImage(key, _TOO_LARGE)
        else:
            content = (
                payload.place[image_start:]
                if isinstance(payload.place, bytes)
                else ByteRange(name, payload.place + image_start, image_size)
            )
            yield ImageRecord(key, str(int(labels[0])), content)


def check_index(file: BinaryIO, name: str, index: Iterable[str]) -> str | None:
    """What does not fit between a RecordIO file and the lines of its `train.idx`, if anything.

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
        if not _is_record(file, offset, file_size):
            return f"line {number} of the index of {name} points to {offset}, where no record is"
        covered += _record_end(file, offset, file_size) - offset
    if covered != file_size:
        return f"the records in the index of {name} have {covered} bytes, the file has {file_size}"
    return None


def read_property(text: str) -> tuple[int, int, int]:
    """(num_classes, height, width), from the text of a `property` file.

    Raises:
        ValueError: if it is anything else than three whole numbers > 0 with commas between them.
    """
    match = re.fullmatch(r"([0-9]{1,18}),([0-9]{1,18}),([0-9]{1,18})", text.strip())
    numbers = [int(group) for group in match.groups()] if match else []
    if not numbers or 0 in numbers:
        raise ValueError(
            f"`property` must be three numbers, num_classes,height,width. Received: {text[:80]!r}"
        )
    num_classes, height, width = numbers
    return num_classes, height, width


def _labels(payload: _Payload) -> tuple[tuple[float, ...], int]:
    """The one label that counts, or the two of a header record; and where the image begins.

    That is behind the end of a payload that is too short.
    """
    if payload.size < _HEADER.size:
        return (), _HEADER.size
    num_labels, label, _, _ = _HEADER.unpack_from(payload.start)
    image_start = _HEADER.size + num_labels * _LABEL.size
    if num_labels == 0 or image_start > payload.size:
        return (label,), image_start
    count = 2 if num_labels >= 2 and image_start == payload.size else 1
    return struct.unpack_from(f"<{count}f", payload.start, _HEADER.size), image_start


def _header_range(first: int, end: int) -> range:
    # From 2^24 on, float32 holds only every second number, from 2^25 on every fourth: the ends of
    # a large file's range may be off by half of that.
    rounding = end >> 24
    return range(first - rounding, end + rounding)


def _payloads(file: BinaryIO, file_size: int) -> Iterator[_Payload | str]:
    """What each record holds, or what is wrong with it."""
    offset = 0
    while offset < file_size:
        part = _part_at(file, offset, file_size)
        if part is None:
            following = _next_record(file, offset, file_size)
            cut = following is None and _begins_with_magic(file, offset)
            yield _ENDS if cut else _NO_RECORD
            offset = file_size if following is None else following
            continue
        flag, size, start = part
        if flag == _WHOLE:
            place = offset + _PART.size
            offset = place + _padded(size)
            yield _Payload(size, start, place)
        else:
            payload, offset = _join(file, offset, file_size)
            yield payload


def _join(file: BinaryIO, offset: int, file_size: int) -> tuple[_Payload | str, int]:
    """The payload of the split record at `offset`, or what is wrong with it; and where it ends."""
    begin = offset
    joined = bytearray()
    problem = flag = None
    while flag != _LAST:
        part = _part_at(file, offset, file_size)
        if part is None:
            # What comes before the next record can only be the rest of this one.
            following = _next_record(file, offset, file_size)
            if following is None:
                return problem or _ENDS, file_size
            return problem or _NO_LATER_PART, following
        flag, size, _ = part
        if offset == begin and flag != _FIRST:
            problem = _NO_FIRST_PART
        elif offset > begin and flag in (_WHOLE, _FIRST):
            return problem or _NO_LATER_PART, offset
        # The labels are counted with the image: they are a few bytes.
        if problem is None and len(joined) + size + len(MAGIC) > MAX_IMAGE_BYTES:
            problem = _TOO_LARGE
            joined.clear()
        if problem is None:
            file.seek(offset + _PART.size)
            joined += file.read(size)
            if flag != _LAST:
                joined += MAGIC
        offset += _PART.size + _padded(size)
    payload = bytes(joined)
    return problem or _Payload(len(payload), payload[:_START_BYTES], payload), offset


def _record_end(file: BinaryIO, offset: int, file_size: int) -> int:
    """Where the record at `offset` ends, of one part or several."""
    more = True
    while more and (part := _part_at(file, offset, file_size)) is not None:
        flag, size, _ = part
        more = flag in (_FIRST, _MIDDLE)
        offset += _PART.size + _padded(size)
    return offset


def _part_at(file: BinaryIO, offset: int, file_size: int) -> tuple[int, int, bytes] | None:
    """Flag, size and first bytes of the payload, if there is a part that the file holds whole."""
    file.seek(offset)
    # One read for all: a seek forgets what a file has read ahead only if it leads out of it.
    content = file.read(_PART.size + _START_BYTES)
    if len(content) < _PART.size:
        return None
    magic, flag_and_size = _PART.unpack_from(content)
    flag, size = flag_and_size >> 29, flag_and_size & (1 << 29) - 1
    if magic != MAGIC or flag > _LAST or offset + _PART.size + size > file_size:
        return None
    return flag, size, content[_PART.size :]


def _is_record(file: BinaryIO, offset: int, file_size: int) -> bool:
    part = _part_at(file, offset, file_size)
    return part is not None and part[0] in (_WHOLE, _FIRST)


def _next_record(file: BinaryIO, offset: int, file_size: int) -> int | None:
    """The first place from `offset` on, a multiple of 4, where a record begins."""
    while offset < file_size:
        file.seek(offset)
        content = file.read(_SEARCH_BYTES)
        found = content.find(MAGIC)
        while found >= 0:
            if found % 4 == 0 and _is_record(file, offset + found, file_size):
                return offset + found
            found = content.find(MAGIC, found + 1)
        offset += _SEARCH_BYTES
    return None


def _begins_with_magic(file: BinaryIO, offset: int) -> bool:
    """Whether the bytes there are the magic, or what is left of it where the file ends."""
    file.seek(offset)
    return MAGIC.startswith(file.read(len(MAGIC)))


def _padded(size: int) -> int:
    return -(-size // 4) * 4
