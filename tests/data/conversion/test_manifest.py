"""The database of a conversion: locked, all or none, and what it sorts and counts."""

import os
import sqlite3

import numpy as np
import pytest

from keras_sphereface.data.conversion.manifest import Done, Manifest
from keras_sphereface.data.conversion.steps import SAME_KEY
from keras_sphereface.data.tfrecord import Shard
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

POINTS = np.arange(10.0).reshape(5, 2)


@pytest.fixture
def manifest(tmp_path):
    manifest = Manifest(tmp_path / "scratch")
    yield manifest
    manifest.close()


def image(key, content=b"bytes", landmarks=None):
    return ImageRecord(key, key.split("/")[0], content, landmarks)


def arranged(manifest, entries, min_images=1, no_landmarks=None):
    manifest.list_images(entries, 0, lambda: {"left_out": 5})
    manifest.arrange(min_images, "few", no_landmarks)
    return list(manifest.items(1, manifest.num_images))


def finish(manifest, digests):
    """Write all images into one shard; those without a digest cannot be read."""
    items = list(manifest.items(1, manifest.num_images))
    pairs = [(item, digests.get(item.image.key)) for item in items]
    done = [Done(item.position, digest, None) for item, digest in pairs if digest]
    skipped = [SkippedImage(item.image.key, "broken") for item, digest in pairs if not digest]
    manifest.divide(1)
    manifest.finish_shard(0, Shard("x", len(done), 7, "sum"), done, skipped)


def test_only_one_process_works_on_it(manifest, tmp_path):
    with pytest.raises(BlockingIOError, match="Another conversion"):
        Manifest(tmp_path / "scratch")
    manifest.clear()
    with pytest.raises(BlockingIOError, match="Another conversion"):
        Manifest(tmp_path / "scratch")


def test_a_step_that_fails_leaves_nothing(manifest):
    def entries():
        yield image("a/1.jpg")
        yield SkippedImage("a/2.jpg", "broken")
        raise OSError

    with pytest.raises(OSError):
        manifest.list_images(entries(), 0, dict)
    assert manifest.get_meta("listed") is None
    assert list(manifest.skipped()) == []
    assert [item.image.key for item in arranged(manifest, [image("b/1.jpg")])] == ["b/1.jpg"]


def test_metadata_outlives_the_process_and_goes_when_cleared(manifest, tmp_path):
    manifest.set_meta(settings="x", left_out={"a": [1]})
    manifest.set_meta(settings="y")
    manifest.close()
    again = Manifest(tmp_path / "scratch")
    assert (again.get_meta("settings"), again.get_meta("left_out")) == ("y", {"a": [1]})
    again.clear()
    assert again.get_meta("settings") is None
    again.close()


def test_images_come_back_with_their_bytes_their_place_and_their_points(manifest):
    entries = [
        image("b/1.jpg", b"first"),
        image("a/2.jpg", ByteRange("faces.tar", 512, 9), POINTS),
        image("b/1.jpg", b"again"),
    ]
    items = {item.image.key: item for item in arranged(manifest, entries)}
    assert {key: item.label for key, item in items.items()} == {"a/2.jpg": 0, "b/1.jpg": 1}
    assert sorted(item.position for item in items.values()) == [1, 2]
    assert items["a/2.jpg"].image.content == ByteRange("faces.tar", 512, 9)
    np.testing.assert_array_equal(items["a/2.jpg"].image.landmarks, POINTS)
    spooled = items["b/1.jpg"].image.content
    with open(spooled.file, "rb") as file:
        assert spooled.read(file) == b"first"
    assert items["b/1.jpg"].image.landmarks is None
    assert list(manifest.skipped()) == [SkippedImage("b/1.jpg", SAME_KEY)]


def test_points_of_a_file_replace_those_of_the_source(manifest):
    entries = [image("a/1.jpg", landmarks=POINTS), image("a/2.jpg"), image("a/3.jpg")]
    manifest.list_images(entries, 0, dict)
    manifest.add_landmarks([("a/1.jpg", POINTS + 1), ("a/2.jpg", POINTS), ("z", POINTS)])
    manifest.arrange(1, "few", "no landmarks")
    points = {item.image.key: item.image.landmarks for item in manifest.items(1, 9)}
    assert list(manifest.skipped()) == [SkippedImage("a/3.jpg", "no landmarks")]
    assert manifest.num_with_landmarks == manifest.num_images == len(points) == 2
    np.testing.assert_array_equal(points["a/1.jpg"], POINTS + 1)
    np.testing.assert_array_equal(points["a/2.jpg"], POINTS)


def test_shards_are_equal_and_open_until_they_are_finished(manifest):
    arranged(manifest, [image(f"a/{number}.jpg") for number in range(7)])
    manifest.divide(3)
    assert manifest.open_shards() == [(0, 1, 2), (1, 3, 4), (2, 5, 7)]
    manifest.finish_shard(1, Shard("x", 2, 9, "sum"))
    assert [number for number, _, _ in manifest.open_shards()] == [0, 2]
    assert manifest.num_shards == 3


def test_identities_below_min_images_leave_and_the_others_are_numbered_anew(manifest):
    keys = ["1/a", "2/a", "2/b", "10/a", "10/b", "Ada/a"]
    arranged(manifest, map(image, keys))
    finish(manifest, {key: key.encode() for key in keys if key != "2/b"})
    manifest.skip_identities_below(1, "few readable")
    assert manifest.outdated_shards() == []
    manifest.skip_identities_below(2, "few readable")
    assert list(manifest.identities()) == [(0, "10", 2)]
    assert (manifest.label_of("10"), manifest.label_of("2")) == (0, None)
    assert manifest.outdated_shards() == [0]
    reasons = {key: reason for key, reason in manifest.skipped()}
    expected = dict.fromkeys(("1/a", "2/a", "Ada/a"), "few readable")
    assert reasons == {"2/b": "broken", **expected}
    manifest.finish_shard(0, Shard("x", 2, 3, "new"))
    assert manifest.outdated_shards() == []
    assert manifest.shards() == [Shard("train-00000-of-00001.tfrecord", 2, 3, "new")]


def test_duplicates_are_grouped_by_their_bytes_in_the_order_of_first_keys(manifest):
    digests = {"b/1": b"x", "a/9": b"x", "a/2": b"y", "a/1": b"y", "c/1": b"z", "c/2": b"w"}
    arranged(manifest, map(image, digests))
    finish(manifest, digests)
    assert list(manifest.duplicates()) == [
        (0, "same identity", "a", "a/1"),
        (0, "same identity", "a", "a/2"),
        (1, "several identities", "a", "a/9"),
        (1, "several identities", "b", "b/1"),
    ]


def test_a_damaged_database_is_no_lock_and_is_closed(tmp_path, monkeypatch):
    monkeypatch.delenv("SQLITE_TMPDIR", raising=False)
    (tmp_path / "plan.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Manifest(tmp_path)
    assert "SQLITE_TMPDIR" not in os.environ
