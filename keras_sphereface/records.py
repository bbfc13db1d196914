"""The TFRecord schema: shards `train-00000-of-00008.tfrecord`, dataset.json, labels.csv.

A record holds `image` (encoded bytes), `label` (int64), `identity` (utf-8 name) and `key`
(the picture's path in its source).
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import tensorflow as tf

from keras_sphereface.pictures import Dropped

FORMAT_VERSION = 1
INFO_FILE = "dataset.json"
LABELS_FILE = "labels.csv"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records."""

    file: str
    num_images: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The contents of dataset.json."""

    format_version: int
    tool_version: str
    num_images: int
    num_classes: int
    image_size: tuple[int, int]  # height, width
    alignment: str
    seed: int
    shards: tuple[Shard, ...]
    excluded_identities: tuple[str, ...]  # left out as asked for
    unknown_exclusions: tuple[str, ...]  # asked to be left out, but not in the source
    dropped: tuple[Dropped, ...]

    def write(self, folder: Path) -> None:
        values = dataclasses.asdict(self)
        values["dropped"] = [entry._asdict() for entry in self.dropped]
        text = json.dumps(values, indent=2)
        (folder / INFO_FILE).write_text(text + "\n", encoding="utf-8")


def read_info(folder: str | os.PathLike) -> DatasetInfo:
    """Read FOLDER/dataset.json and see that its shards are there.

    Raises:
        FileNotFoundError: if the folder holds no finished set of records.
        ValueError: if dataset.json is of another version.
    """
    path = Path(folder) / INFO_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"A folder of records holds {INFO_FILE}; make one with tools/make_tfrecords.py. "
            f"Received: {folder}"
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    if values.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: expected format_version {FORMAT_VERSION}. "
            f"Received: {values.get('format_version')!r}"
        )
    info = DatasetInfo(
        **{
            **values,
            "image_size": tuple(values["image_size"]),
            "shards": tuple(Shard(**shard) for shard in values["shards"]),
            "excluded_identities": tuple(values["excluded_identities"]),
            "unknown_exclusions": tuple(values["unknown_exclusions"]),
            "dropped": tuple(Dropped(**entry) for entry in values["dropped"]),
        }
    )
    missing = [shard.file for shard in info.shards if not path.with_name(shard.file).is_file()]
    if missing:
        raise FileNotFoundError(f"{path} names shards that are not there: {', '.join(missing)}")
    return info


def shard_name(index: int, num_shards: int) -> str:
    """`train-00000-of-00008.tfrecord` and so on."""
    return f"train-{index:05d}-of-{num_shards:05d}.tfrecord"


def serialize(image: bytes, label: int, identity: str, key: str) -> bytes:
    """One record."""

    def text(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    feature = {
        "image": text(image),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "identity": text(identity.encode()),
        "key": text(key.encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def relabel(file: Path, labels: dict[str, int]) -> None:
    """Write a shard anew with the label that `labels` gives to each identity."""
    renewed = file.with_suffix(".relabelled")
    with tf.io.TFRecordWriter(str(renewed)) as writer:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            identity = example.features.feature["identity"].bytes_list.value[0].decode()
            example.features.feature["label"].int64_list.value[:] = [labels[identity]]
            writer.write(example.SerializeToString())
    renewed.replace(file)


def sha256(path: Path) -> str:
    """The checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
