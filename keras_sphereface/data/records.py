"""A folder of records: shards `train-00000-of-00008.tfrecord`, dataset.json and tables beside them.

A record is a `tf.train.Example` that holds `image` (encoded bytes), `label` (int64), `identity`
(UTF-8 name) and `key` (the image's name in its source).
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_sphereface.data.folders import INFO_FILE, instead_of_records
from keras_sphereface.data.tfrecord import Record, Shard, deserialize, read_records
from keras_sphereface.data.types import SkippedImage

FORMAT_VERSION = 3
# The keys of version 2 that have another name since.
_RENAMED_KEYS = {
    "num_classes": "num_identities",
    "duplicates_same_person": "duplicates_same_identity",
    "duplicates_two_people": "duplicates_several_identities",
    "dropped_by_reason": "skipped_by_reason",
    "dropped": "skipped",
}
LABELS_FILE = "labels.csv"
LABELS_HEADER = ("label", "identity", "count")
SKIPPED_FILE = "skipped.csv"  # key, reason
DUPLICATES_FILE = "duplicates.csv"  # group, kind, identity, key
NEAR_DUPLICATES_FILE = "near_duplicates.csv"  # as well
QUALITY_FILE = "quality.html"
LANDMARKS_FILE = "landmarks.txt"  # of detected faces
_OLD_SKIPPED_FILE = "dropped.csv"  # of version 2
MAX_SKIPPED_LISTED = 1000  # in dataset.json itself


class QualityRow(NamedTuple):
    """The result of one quality check of all faces.

    Attributes:
        check: Str. What was looked for.
        num_found: Int. Number of images, or of identities, with that finding; None: not looked for.
        examples: Keys of some of these images; of duplicates pair by pair.
        note: Str. Why it was not looked for.

    Example:

    >>> QualityRow("upside down", 1, ("ada/7.jpg",)).num_found
    1
    """

    check: str
    num_found: int | None
    examples: tuple[str, ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Metadata of a folder of records, stored as dataset.json.

    Attributes:
        format_version: Int. Version of these keys.
        tool_version: Version of the package that wrote the records.
        source: Kind of source, such as "class folders".
        settings: Checksum of all that the records depend on; empty if made on Beam.
        num_images, num_identities: Numbers of records and of labels.
        image_size: (height, width) in pixels.
        alignment: How the faces were aligned, or "none".
        seed: Int. Seed of the global shuffle.
        shards: The files of records.
        excluded_identities: Identities that were left out as requested.
        excluded_images: Number of their images, and of those left out by a pattern of names.
        unknown_exclusions: Requested exclusions that match nothing in the source.
        duplicates_same_identity: Number of images whose bytes another image of the same identity
            has.
        duplicates_several_identities: Number of images whose bytes an image of another identity
            has.
        skipped_by_reason: Number of skipped images by reason.
        skipped: The first thousand skipped images; skipped.csv lists all.
        warnings: Results of the quality checks.
        skipped_examples: The first skipped image by reason.
        quality: Results of the quality checks of all faces; empty if they were not measured.

    Example:

    >>> info = read_info("records")
    >>> info.num_images, info.num_identities, info.image_size
    (30, 5, (112, 96))
    """

    format_version: int
    tool_version: str
    source: str
    settings: str
    num_images: int
    num_identities: int
    image_size: tuple[int, int]
    alignment: str
    seed: int
    shards: tuple[Shard, ...]
    excluded_identities: tuple[str, ...]
    excluded_images: int
    unknown_exclusions: tuple[str, ...]
    duplicates_same_identity: int
    duplicates_several_identities: int
    skipped_by_reason: Mapping[str, int]
    skipped: tuple[SkippedImage, ...]
    warnings: tuple[str, ...]
    skipped_examples: Mapping[str, str] = dataclasses.field(default_factory=dict)
    quality: tuple[QualityRow, ...] = ()

    @property
    def num_read(self) -> int:
        """Number of images read: those kept, excluded as requested and skipped."""
        return self.num_images + self.excluded_images + self.num_skipped

    @property
    def num_skipped(self) -> int:
        return sum(self.skipped_by_reason.values())

    def to_json(self) -> str:
        """Return the text of dataset.json."""
        values = {"num_read": self.num_read, **dataclasses.asdict(self)}
        values["skipped"] = [entry._asdict() for entry in self.skipped]
        values["quality"] = [row._asdict() for row in self.quality]
        return json.dumps(values, indent=2) + "\n"


def read_info(folder: str | os.PathLike) -> DatasetInfo:
    """Read FOLDER/dataset.json and check that its shards exist.

    Raises:
        FileNotFoundError: if the folder holds no finished set of records, or shards are missing.
        ValueError: if dataset.json is damaged or of an unknown version.

    Example:

    >>> [shard.num_images for shard in read_info("records").shards]
    [10, 10, 10]
    """
    info, path = _read_info_file(folder), Path(folder) / INFO_FILE
    missing = [shard.file for shard in info.shards if not path.with_name(shard.file).is_file()]
    if missing:
        raise FileNotFoundError(f"{path} names shards that do not exist: {', '.join(missing)}")
    return info


def _read_info_file(folder: str | os.PathLike) -> DatasetInfo:
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"A folder of records holds {INFO_FILE}. "
            f"Received: {'this folder' if str(folder) == os.curdir else folder}. "
            + instead_of_records(folder)
        )
    return info_from_json(path.read_text(encoding="utf-8"), str(path))


def info_from_json(text: str, name: str) -> DatasetInfo:
    """Return the metadata in the text of a dataset.json of this or the previous version.

    Args:
        text: Str. The text.
        name: Str. Path of the file, for messages.

    Raises:
        ValueError: if it is of another version, or damaged.
    """
    try:
        values = json.loads(text)
        version = values.get("format_version")
    except (AttributeError, ValueError):
        raise ValueError(f"{name} is damaged. Received: {text[:80]!r}") from None
    if version not in (FORMAT_VERSION - 1, FORMAT_VERSION):
        raise ValueError(
            f"{name} must have format_version {FORMAT_VERSION - 1} or {FORMAT_VERSION}. "
            f"Received: {version!r}"
        )
    if version < FORMAT_VERSION:
        values = {_RENAMED_KEYS.get(key, key): value for key, value in values.items()}
    try:
        return _info_of(values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name} is damaged. Received: {error}") from error


def _info_of(values: dict[str, Any]) -> DatasetInfo:
    values = {key: value for key, value in values.items() if key != "num_read"}  # a sum
    lists = ("image_size", "excluded_identities", "unknown_exclusions", "warnings")
    return DatasetInfo(
        **{
            **values,
            **{key: tuple(values[key]) for key in lists},
            "shards": tuple(Shard(**shard) for shard in values["shards"]),
            "skipped": tuple(SkippedImage(**entry) for entry in values["skipped"]),
            "quality": tuple(_quality_row(row) for row in values.get("quality", ())),
        }
    )


def _quality_row(values: dict[str, Any]) -> QualityRow:
    return QualityRow(**{**values, "examples": tuple(values["examples"])})


def check_identities(info: DatasetInfo, folder: str | os.PathLike) -> None:
    """Refuse records of which nothing can be learned.

    Raises:
        ValueError: if they show one identity only.
    """
    if info.num_identities < 2:
        raise ValueError(
            "A network learns to tell people apart: records must hold at least 2 identities. "
            f"Received: {info.num_identities} in {folder}, from {info.source}"
        )


def check_batch_size(info: DatasetInfo, batch_size: int) -> None:
    """Refuse batches that the images do not fill.

    Raises:
        ValueError: if they do not, or the size is below 1.
    """
    if not 1 <= batch_size <= info.num_images:
        raise ValueError(
            f"`batch_size` must be from 1 to the number of images, {info.num_images}. "
            f"Received: batch_size={batch_size}"
        )


def data_checksum(info: DatasetInfo) -> str:
    """Return one checksum of all shards; it does not depend on their path."""
    joined = "".join(shard.sha256 for shard in info.shards)
    return hashlib.sha256(joined.encode()).hexdigest()


def damaged_shards(folder: str | os.PathLike) -> dict[str, str]:
    """Compare the shards of a folder with dataset.json.

    Returns:
        {file: what is wrong}, empty if all shards are as they were written.

    Raises:
        FileNotFoundError, ValueError: as `read_info`, but a missing shard is an entry.

    Example:

    >>> damaged_shards("records")
    {}
    """
    problems = {}
    for shard in _read_info_file(folder).shards:
        path = Path(folder) / shard.file
        if not path.is_file():
            problems[shard.file] = "is missing"
        elif path.stat().st_size != shard.num_bytes:
            problems[shard.file] = f"has {path.stat().st_size} bytes instead of {shard.num_bytes}"
        elif file_sha256(path) != shard.sha256:
            problems[shard.file] = "has another checksum: its bytes changed"
    return problems


def shard_name(index: int, num_shards: int) -> str:
    """Return the name of a shard, such as `train-00000-of-00008.tfrecord`."""
    return f"train-{index:05d}-of-{num_shards:05d}.tfrecord"


def is_own_file(name: str) -> bool:
    """Return whether a folder of records may hold a file of this name."""
    tables = (LABELS_FILE, SKIPPED_FILE, DUPLICATES_FILE, NEAR_DUPLICATES_FILE, LANDMARKS_FILE)
    return (
        name in (INFO_FILE, *tables, QUALITY_FILE, _OLD_SKIPPED_FILE)
        or re.fullmatch(r"train-[0-9]{5,}-of-[0-9]{5,}[.]tfrecord", name) is not None
    )


def read_folder(folder: str | os.PathLike) -> Iterator[Record]:
    """Yield all records of a finished folder, in the order of its shards.

    Raises:
        FileNotFoundError, ValueError: as `read_info` and `read_records`.

    Example:

    >>> sorted({record.identity for record in read_folder("records")})[:2]
    ['person_0001', 'person_0002']
    """
    for shard in read_info(folder).shards:
        yield from map(deserialize, read_records(Path(folder) / shard.file))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
