"""The schema: what is written without TensorFlow, TensorFlow reads."""

import contextlib
import json
import shutil

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.data import preprocessing, records, tfrecord
from keras_sphereface.data.types import SkippedImage
from tests.conftest import OLD_FILES

RECORD = tfrecord.Record(b"\xff\xd8 an image", 300, "Zoë", "Zoë/1 2.jpg")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
RECORDS = st.builds(
    tfrecord.Record, st.binary(max_size=40_000), st.integers(0, 2**63 - 1), TEXT, TEXT
)


def write(path, examples):
    with tfrecord.ShardWriter(path) as writer:
        for example in examples:
            writer.write(example)
    return writer.shard


@given(RECORDS)
def test_a_record_is_an_example_and_comes_back(record):
    encoded = tfrecord.serialize(record)
    feature = tf.train.Example.FromString(encoded).features.feature
    assert list(feature["image"].bytes_list.value) == [record.image]
    assert list(feature["label"].int64_list.value) == [record.label]
    assert [value.decode() for value in feature["identity"].bytes_list.value] == [record.identity]
    assert [value.decode() for value in feature["key"].bytes_list.value] == [record.key]
    assert tfrecord.deserialize(encoded) == record


def test_tensorflow_parses_a_record():
    parsed = preprocessing.parse_records([tfrecord.serialize(RECORD)] * 2)
    assert parsed["label"].numpy().tolist() == [300, 300]
    assert parsed["image"].numpy().tolist() == [RECORD.image] * 2


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_shard_is_a_file_of_tfrecords(tmp_path, count):
    examples = [tfrecord.serialize(RECORD._replace(label=label)) for label in range(count)]
    path = tmp_path / "x.tfrecord"
    shard = write(path, examples)
    assert list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) == examples
    assert list(tfrecord.read_records(path)) == examples
    assert shard == tfrecord.Shard(
        "x.tfrecord", count, path.stat().st_size, records.file_sha256(path)
    )
    with tf.io.TFRecordWriter(str(tmp_path / "y.tfrecord")) as writer:
        for example in examples:
            writer.write(example)
    assert (tmp_path / "y.tfrecord").read_bytes() == path.read_bytes()


def test_a_shard_has_its_name_only_when_it_is_whole(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), tfrecord.ShardWriter(tmp_path / "x") as writer:
        writer.write(b"one")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [3, 9, 14, -2])
def test_a_damaged_record_is_never_read_as_a_good_one(tmp_path, place):
    path = tmp_path / "x"
    write(path, [b"one", b"two"])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        list(tfrecord.read_records(path))


def test_damaged_folders_of_records_are_refused(records_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(records_folder, folder)
    (folder / records.shard_name(1, 3)).unlink()
    with pytest.raises(FileNotFoundError, match="train-00001-of-00003"):
        records.read_info(folder)
    values = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**values, "format_version": 99}))
    with pytest.raises(ValueError, match="Received: 99"):
        records.read_info(folder)


def test_verification_names_the_damaged_shards(records_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(records_folder, folder)
    assert records.damaged_shards(folder) == {}
    names = [records.shard_name(i, 3) for i in range(3)]
    content = bytearray((folder / names[0]).read_bytes())
    content[1000] ^= 1
    (folder / names[0]).write_bytes(content)
    with open(folder / names[1], "ab") as file:
        file.write(b"more")
    (folder / names[2]).unlink()
    problems = records.damaged_shards(folder)
    assert list(problems) == names
    assert [problem.split()[0] for problem in problems.values()] == ["has", "has", "is"]
    assert "checksum" in problems[names[0]]
    with pytest.raises(FileNotFoundError, match=r"dataset\.json"):
        records.damaged_shards(tmp_path)


def test_the_metadata_of_the_previous_version_is_read(tmp_path):
    folder = OLD_FILES / "records"
    info = records.read_info(folder)
    assert info.format_version == 2
    assert (info.num_images, info.num_identities, info.image_size) == (9, 3, (28, 24))
    assert (info.num_skipped, info.skipped) == (0, ())
    assert (info.duplicates_same_identity, info.duplicates_several_identities) == (0, 0)
    assert records.damaged_shards(folder) == {}
    assert sum(1 for _ in records.read_folder(folder)) == 9
    assert all(records.is_own_file(path.name) for path in folder.iterdir())
    with_skipped = json.loads((folder / "dataset.json").read_text()) | {
        "dropped_by_reason": {"no landmarks": 1},
        "dropped": [{"key": "a/1.jpg", "reason": "no landmarks"}],
    }
    info = records.info_from_json(json.dumps(with_skipped), "dataset.json")
    assert info.skipped == (SkippedImage("a/1.jpg", "no landmarks"),)
    assert info.num_skipped == 1


def test_the_metadata_comes_back_from_json(records_folder):
    info = records.read_info(records_folder)
    assert info.format_version == 3
    assert records.info_from_json(info.to_json(), "dataset.json") == info


@pytest.mark.parametrize("text", ["", "3", "[]", '{"format_version": 3}', '{"format_version": 2}'])
def test_damaged_metadata_is_refused(text):
    with pytest.raises(ValueError, match=r"dataset\.json (is damaged|must have).* Received: "):
        records.info_from_json(text, "dataset.json")
