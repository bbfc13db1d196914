"""TFRecord files of `tf.train.Example`s, written and read without TensorFlow.

TensorFlow would take seconds and most of a gigabyte to import in every process of a conversion.
`preprocessing.parse_records` reads the same files inside TensorFlow.
"""

import contextlib
import dataclasses
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c


class Record(NamedTuple):
    """One image of a shard.

    Attributes:
        image: Encoded bytes.
        label: Int. Number of the identity, from 0.
        identity: Name of the identity.
        key: Name of the image in its source.

    Example:

    >>> record = Record(b"...", 0, "ada", "ada/1.jpg")
    >>> deserialize(serialize(record)) == record
    True
    """

    image: bytes
    label: int
    identity: str
    key: str


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
        file: Name.
        num_images: Number of records.
        num_bytes: Size of the file.
        sha256: Checksum of the file, hexadecimal.
    """

    file: str
    num_images: int
    num_bytes: int
    sha256: str


def serialize(record: Record) -> bytes:
    """Return the bytes of a `tf.train.Example`, the same for the same record."""
    # A feature of bytes is field 1, and one of integers field 3; a list's values are its field 1.
    features = (
        (b"image", 1, record.image),
        (b"label", 3, _varint(record.label)),
        (b"identity", 1, record.identity.encode()),
        (b"key", 1, record.key.encode()),
    )
    entries = [
        _field(1, _field(1, name) + _field(2, _field(kind, _field(1, value))))
        for name, kind, value in features
    ]
    return _field(1, b"".join(entries))


def deserialize(example: bytes) -> Record:
    """Return the record of an example that `serialize` wrote."""
    values = {}
    for entry in _fields(next(_fields(example))):
        name, feature = _fields(entry)
        values[bytes(name).decode()] = next(_fields(next(_fields(feature))))
    label = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(values["label"]))
    identity, key = bytes(values["identity"]).decode(), bytes(values["key"]).decode()
    return Record(bytes(values["image"]), label, identity, key)


class ShardWriter:
    """Context manager that writes one file of TFRecords.

    The file gets its name only when the block ends without an error, so what a killed run leaves
    behind never looks like a shard; a block that fails leaves nothing. After the block, `shard`
    describes the file.
    """

    shard: Shard

    def __init__(self, path: Path):
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        self._sha256, self._num_images, self._num_bytes = hashlib.sha256(), 0, 0

    def __enter__(self) -> "ShardWriter":
        self._file = open(self._partial, "wb", buffering=1 << 20)
        return self

    def write(self, example: bytes) -> None:
        """Append one record: its length, the record, and a checksum of each."""
        length = struct.pack("<Q", len(example))
        framed = b"".join((length, _checksum(length), example, _checksum(example)))
        self._file.write(framed)
        self._sha256.update(framed)
        self._num_images += 1
        self._num_bytes += len(framed)

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error:
            # The disk may be full; the first error is the one to report.
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._partial.unlink()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self.path)
        self.shard = Shard(
            self.path.name, self._num_images, self._num_bytes, self._sha256.hexdigest()
        )


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the serialized records of a TFRecord file, in order.

    Raises:
        ValueError: naming file and byte offset, if the file is damaged.
    """
    with open(path, "rb") as file:
        while head := file.read(12):
            length = head[:8]
            if head[8:] != _checksum(length):
                raise _damaged(path, "at", file.tell() - len(head))
            example = file.read(*struct.unpack("<Q", length))
            if file.read(4) != _checksum(example):
                raise _damaged(path, "before", file.tell())
            yield example


def _damaged(path: Path, where: str, offset: int) -> ValueError:
    return ValueError(
        f"{path} is damaged {where} byte {offset}. Make the records again: --overwrite"
    )


def _checksum(content: bytes) -> bytes:
    """Return the CRC-32C, masked as the TFRecord format requires."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# The wire format of protocol buffers; an example consists of fields of known length only.
_BYTES = 2


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    size = len(content)
    tag = number << 3 | _BYTES
    # Most are short: a length of one byte.
    return (bytes((tag, size)) if size < 0x80 else bytes((tag,)) + _varint(size)) + content


def _fields(message: bytes | memoryview) -> Iterator[memoryview]:
    """Yield the contents of the fields of a message, in order."""
    message, start = memoryview(message), 0
    while start < len(message):
        start, size, shift = start + 1, 0, 0
        while True:
            byte, start = message[start], start + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield message[start : start + size]
        start += size
