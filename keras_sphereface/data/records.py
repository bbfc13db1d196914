"""The TFRecord schema: shards `train-00000-of-00008.tfrecord`, dataset.json and tables beside them.

A record is a `tf.train.Example` that holds `image` (encoded bytes), `label` (int64), `identity`
(utf-8 name) and `key` (the image's name in its source). It is written and read here without
TensorFlow, which takes seconds and much of a gigabyte to import in every process of a conversion;
`preprocessing.parse_records` reads them inside TensorFlow.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from keras_sphereface.data.types import SkippedImage

FORMAT_VERSION = 3
INFO_FILE = "dataset.json"
LABELS_FILE = "labels.csv"
LABELS_HEADER = ("label", "identity", "count")
SKIPPED_FILE = "skipped.csv"  # key, reason
DUPLICATES_FILE = "duplicates.csv"  # group, kind, identity, key
LANDMARKS_FILE = "landmarks.txt"  # of faces that were detected
MAX_SKIPPED_LISTED = 1000  # drops that dataset.json lists itself


class Record(NamedTuple):
    """One image of a shard."""

    image: bytes
    label: int
    identity: str
    key: str


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records."""

    file: str
    num_images: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The contents of dataset.json."""

    format_version: int
    tool_version: str
    source: str  # the kind of source, such as "class folders"
    settings: str  # checksum of all that the records depend on; empty if made on Beam
    num_images: int
    num_identities: int
    image_size: tuple[int, int]  # height, width
    alignment: str
    seed: int
    shards: tuple[Shard, ...]
    excluded_identities: tuple[str, ...]  # left out as asked for
    excluded_images: int  # their images, and those left out by a pattern of names
    unknown_exclusions: tuple[str, ...]  # asked to be left out, but not in the source
    duplicates_same_identity: int  # images whose bytes another image of the person has
    duplicates_several_identities: int  # images whose bytes an image of somebody else has
    skipped_by_reason: Mapping[str, int]
    skipped: tuple[SkippedImage, ...]  # the first thousand; skipped.csv lists all
    warnings: tuple[str, ...]  # what looked wrong

    @property
    def num_skipped(self) -> int:
        return sum(self.skipped_by_reason.values())

    def to_json(self) -> str:
        """The text of dataset.json."""
        values = dataclasses.asdict(self)
        values["skipped"] = [entry._asdict() for entry in self.skipped]
        return json.dumps(values, indent=2) + "\n"


def read_info(folder: str | os.PathLike) -> DatasetInfo:
    """Read FOLDER/dataset.json and see that its shards are there.

    Raises:
        FileNotFoundError: if the folder holds no finished set of records, or shards are missing.
        ValueError: if dataset.json is of another version.
    """
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"A folder of records holds {INFO_FILE}; make one with tools/make_tfrecords.py. "
            f"Received: {folder}"
        )
    info = info_from_json(path.read_text(encoding="utf-8"), str(path))
    missing = [shard.file for shard in info.shards if not path.with_name(shard.file).is_file()]
    if missing:
        raise FileNotFoundError(f"{path} names shards that are not there: {', '.join(missing)}")
    return info


def info_from_json(text: str, name: str) -> DatasetInfo:
    """The inverse of `DatasetInfo.to_json`; `name` is that of the file, for errors.

    Raises:
        ValueError: if it is of another version, or damaged.
    """
    try:
        values = json.loads(text)
        version = values.get("format_version")
    except (AttributeError, ValueError):
        raise ValueError(f"{name} is damaged. Received: {text[:80]!r}") from None
    if version != FORMAT_VERSION:
        raise ValueError(f"{name}: expected format_version {FORMAT_VERSION}. Received: {version!r}")
    try:
        return DatasetInfo(
            **{
                **values,
                "image_size": tuple(values["image_size"]),
                "shards": tuple(Shard(**shard) for shard in values["shards"]),
                "excluded_identities": tuple(values["excluded_identities"]),
                "unknown_exclusions": tuple(values["unknown_exclusions"]),
                "skipped": tuple(SkippedImage(**entry) for entry in values["skipped"]),
                "warnings": tuple(values["warnings"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name} is damaged. Received: {error}") from error


def damaged_shards(folder: str | os.PathLike) -> dict[str, str]:
    """{file: what is wrong} of the shards that are not as dataset.json says; empty if all are.

    Raises:
        FileNotFoundError, ValueError: as `read_info`, but a missing shard is an entry.
    """
    folder = Path(folder)
    if not (folder / INFO_FILE).is_file():
        read_info(folder)  # which says so
    text = (folder / INFO_FILE).read_text(encoding="utf-8")
    expected = info_from_json(text, str(folder / INFO_FILE)).shards
    found = {}
    for shard in expected:
        path = folder / shard.file
        if not path.is_file():
            found[shard.file] = "is missing"
        elif path.stat().st_size != shard.num_bytes:
            found[shard.file] = f"has {path.stat().st_size} bytes instead of {shard.num_bytes}"
        elif file_sha256(path) != shard.sha256:
            found[shard.file] = "has another checksum: its bytes changed"
    return found


def shard_name(index: int, num_shards: int) -> str:
    """`train-00000-of-00008.tfrecord` and so on."""
    return f"train-{index:05d}-of-{num_shards:05d}.tfrecord"


def is_own_file(name: str) -> bool:
    """Whether a file of this name may lie in a folder of records."""
    own = (INFO_FILE, LABELS_FILE, SKIPPED_FILE, DUPLICATES_FILE, LANDMARKS_FILE)
    return name in own or re.fullmatch(r"train-[0-9]{5,}-of-[0-9]{5,}[.]tfrecord", name) is not None


def serialize(record: Record) -> bytes:
    """A record as the bytes of a `tf.train.Example`, always the same for the same record."""
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
    """The inverse of `serialize`, for what it wrote."""
    values = {}
    for entry in _fields(next(_fields(example))):
        name, feature = _fields(entry)
        values[bytes(name).decode()] = next(_fields(next(_fields(feature))))
    label = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(values["label"]))
    identity, key = bytes(values["identity"]).decode(), bytes(values["key"]).decode()
    return Record(bytes(values["image"]), label, identity, key)


class ShardWriter:
    """Writes one file of TFRecords; use it in a `with` block.

    The file has its name only when the block ended well: what a run that was killed leaves
    behind never looks like a shard. Then `shard` says what is in it.
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

    def __exit__(self, error, *_):
        if error:
            # The disk may be full; what matters then is the first error.
            with contextlib.suppress(OSError):
                self._file.close()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self.path)
        self.shard = Shard(
            self.path.name, self._num_images, self._num_bytes, self._sha256.hexdigest()
        )


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a file that `ShardWriter` finished, in order.

    Raises:
        ValueError: if the file is damaged.
    """
    with open(path, "rb") as file:
        while head := file.read(12):
            length = head[:8]
            if head[8:] != _checksum(length):
                raise ValueError(f"{path} is damaged at byte {file.tell() - len(head)}")
            example = file.read(*struct.unpack("<Q", length))
            if file.read(4) != _checksum(example):
                raise ValueError(f"{path} is damaged before byte {file.tell()}")
            yield example


def read_folder(folder: str | os.PathLike) -> Iterator[Record]:
    """All records of a finished folder, in the order of its shards.

    Raises:
        FileNotFoundError, ValueError: as `read_info` and `read_records`.
    """
    for shard in read_info(folder).shards:
        yield from map(deserialize, read_records(Path(folder) / shard.file))


def file_sha256(path: Path) -> str:
    """The checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _checksum(content: bytes) -> bytes:
    """CRC-32C, masked as the TFRecord format asks."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# The wire format of protocol buffers: all that is needed here are fields of known length.
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
    """The contents of the fields of a message, in order."""
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
