"""The wire format of protocol buffers: the fields of a message, without a schema.

Reference: "Encoding", the documentation of Protocol Buffers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10  # bytes


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: Its number in the schema.
        kind: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
        value: Int of a varint, else the bytes. Of adjoining fixed fields of one number, such as the
            numbers of an unpacked list, the bytes of all.
    """

    number: int
    kind: int
    value: int | memoryview


def message_fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in their order.

    Raises:
        ValueError: If it is cut short, or no message.

    Example:

    >>> [tuple(field) for field in message_fields(memoryview(b"\\x08\\x96\\x01"))]
    [(1, 0, 150)]
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError(f"no field has the number 0, at byte {start}")
        if kind == VARINT:
            value, position = _varint(message, position)
            yield Field(number, kind, value)
        elif kind == BYTES:
            size, position = _varint(message, position)
            yield Field(number, kind, _cut(message, position, size))
            position += size
        elif kind in _SIZES:
            size = _SIZES[kind]
            first = _cut(message, position, size)
            count = _run_length(message, start, position + size)
            if count == 1:
                yield Field(number, kind, first)
            else:
                records = np.frombuffer(message[start:], np.uint8, count * (1 + size))
                values = np.ascontiguousarray(records.reshape(count, 1 + size)[:, 1:])
                yield Field(number, kind, memoryview(values.tobytes()))
            position = start + count * (position - start + size)
        else:
            raise ValueError(f"a field is of kind {kind}, which is none, at byte {start}")


def varints(values: memoryview) -> list[int]:
    """Return the numbers of a packed list of varints.

    Example:

    >>> varints(memoryview(b"\\x03\\x96\\x01"))
    [3, 150]
    """
    numbers, position = [], 0
    while position < len(values):
        number, position = _varint(values, position)
        numbers.append(number)
    return numbers


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise ValueError(f"a number does not end, at byte {position}")


def _cut(message: memoryview, position: int, size: int) -> memoryview:
    if position + size > len(message):
        raise ValueError(f"{size} bytes are announced, and {len(message) - position} are left")
    return message[position : position + size]


def _run_length(message: memoryview, start: int, end: int) -> int:
    """The number of adjoining fields with the tag, of one byte, and the size of the first."""
    size = end - start
    if message[start] >= 0x80:  # a tag of two bytes, of which there are no long runs
        return 1
    whole = (len(message) - start) // size * size
    tags = np.frombuffer(message[start : start + whole], np.uint8)[::size]
    others = np.flatnonzero(tags != tags[0])
    return int(others[0]) if len(others) else len(tags)
