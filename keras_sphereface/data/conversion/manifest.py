"""The manifest of a conversion: the place of each image and the work done, in a database on disk.

SQLite sorts, joins and counts any number of images in bounded memory, and its commits survive a
process that is killed at any moment.
"""

import array
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_sphereface.data import keys
from keras_sphereface.data.conversion.database import Database
from keras_sphereface.data.conversion.ordering import RANKS, label_order, rank_of
from keras_sphereface.data.conversion.prepare import FaceFindings
from keras_sphereface.data.conversion.steps import (
    SAME_IDENTITY,
    SAME_KEY,
    SEVERAL_IDENTITIES,
    Duplicate,
)
from keras_sphereface.data.records import shard_name
from keras_sphereface.data.tfrecord import Shard
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

# All names stay as they are: conversions that an earlier version left unfinished continue.
_MEASURED = """
CREATE TABLE IF NOT EXISTS measured (position INTEGER PRIMARY KEY, findings INTEGER, hash BLOB)
"""  # which some of them lack
_TABLES = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE listed (number INTEGER PRIMARY KEY, rank INTEGER, key TEXT, identity TEXT,
                     file TEXT, offset INTEGER, size INTEGER, points BLOB);
CREATE TABLE landmarks (key TEXT PRIMARY KEY, points BLOB) WITHOUT ROWID;
CREATE TABLE dropped (key TEXT, reason TEXT);
CREATE TABLE people (identity TEXT PRIMARY KEY, label INTEGER) WITHOUT ROWID;
CREATE TABLE shards (number INTEGER PRIMARY KEY, first INTEGER, last INTEGER,
                     num_images INTEGER, num_bytes INTEGER, sha256 TEXT, labelled INTEGER);
CREATE TABLE done (position INTEGER PRIMARY KEY, digest BLOB, points BLOB);
{_MEASURED}"""
_SPOOL = "pictures"
_ROWS = 64  # written at once: few, as images may come with their bytes
_DONE = "done JOIN pictures ON done.position = pictures.rowid"


class Item(NamedTuple):
    """An image, its position in the global order (from 1) and its label."""

    position: int
    label: int
    image: ImageRecord


class Done(NamedTuple):
    """An image whose record is written: its position, digest, landmarks and quality."""

    position: int
    digest: bytes
    points: np.ndarray | None
    quality: FaceFindings | None = None


class Manifest(Database):
    """The database FOLDER/plan.sqlite, and a file beside it for bytes that no file holds plainly.

    Raises:
        BlockingIOError: if another process works on it.
    """

    FILE = "plan.sqlite"

    def __init__(self, folder: Path):
        self.spool = folder / _SPOOL
        super().__init__(folder, self.FILE, _TABLES)
        self.run(_MEASURED)
        self.create_function("label_order", label_order)
        self.create_function("canonical_key", keys.canonical_key)
        self.create_function("folded_name", keys.folded_name)
        self.create_function("num_parts", keys.num_parts)
        self.create_function("last_parts", keys.last_parts, 2)

    def get_meta(self, name: str) -> Any:
        """Return the metadata of this name; None if it was never set."""
        value = self.value("SELECT value FROM facts WHERE name = ?", name)
        return None if value is None else json.loads(value)

    def set_meta(self, **values: Any) -> None:
        """Set metadata, each of what JSON can hold."""
        rows = [(name, json.dumps(value)) for name, value in values.items()]
        self.run_many("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def list_images(
        self,
        entries: Iterable[ImageRecord | SkippedImage],
        seed: int,
        metadata: Callable[[], dict[str, Any]],
    ) -> None:
        """Take in the entries of a source, all or none.

        The order of the records is that of a hash of seed and key: a shuffle over all images
        that depends on nothing else. Of images with the same key the first stays.

        Args:
            entries: Iterable of images and skipped images.
            seed: Int. Seed of the shuffle.
            metadata: Function that returns metadata known at the end of `entries`.
        """
        insert = "INSERT INTO listed VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
        with self.transaction(), open(self.spool, "wb") as spool:
            remaining = iter(entries)
            while block := list(itertools.islice(remaining, _ROWS)):
                self._skip(entry for entry in block if isinstance(entry, SkippedImage))
                images = (entry for entry in block if isinstance(entry, ImageRecord))
                self.run_many(insert, [_row(image, spool, seed) for image in images])
            self._skip_where(
                "number NOT IN (SELECT MIN(number) FROM listed GROUP BY rank, key)", SAME_KEY
            )
            self.set_meta(listed=True, **metadata())

    def listed_identities(self) -> Iterator[str]:
        """Yield the identities of the listed images, before they are arranged."""
        for (identity,) in self.run("SELECT DISTINCT identity FROM listed ORDER BY identity"):
            yield identity

    def count_identities(self, others: Iterable[str]) -> int:
        """Return the number of identities of the listed images and of others, each once."""
        others = set(others)
        return len(others) + sum(name not in others for name in self.listed_identities())

    def name_twins(self) -> list[list[str]]:
        """Return groups of identities whose names differ in case or Unicode form alone."""
        rows = self.run(
            "SELECT json_group_array(identity) FROM "
            "(SELECT identity FROM people ORDER BY identity) "
            "GROUP BY folded_name(identity) HAVING COUNT(*) > 1 ORDER BY MIN(identity)"
        )
        return [sorted(json.loads(names)) for (names,) in rows]

    def add_landmarks(self, landmarks: Iterable[tuple[str, np.ndarray]]) -> None:
        """Set the points of the listed images from (key, points)."""
        with self.transaction():
            rows = ((key, _packed(points)) for key, points in landmarks)
            self.run_many("INSERT OR REPLACE INTO landmarks VALUES (?, ?)", rows)
            self.run(
                "UPDATE listed SET points = landmarks.points FROM landmarks "
                "WHERE landmarks.key = listed.key"
            )
            if self.value("SELECT COUNT(*) FROM listed WHERE points IS NULL"):
                self._match_landmarks_by_name()
            self.set_meta(landmarks=True)

    def _match_landmarks_by_name(self) -> None:
        """Set the points of images whose names are written differently, as `matched_keys` does."""
        self.run(
            "CREATE TABLE named AS SELECT canonical_key(key) AS name, points FROM landmarks "
            "GROUP BY name HAVING COUNT(*) = 1"
        )
        update = "UPDATE listed SET points = named.points FROM named WHERE listed.points IS NULL "
        self.run(update + "AND named.name = canonical_key(listed.key)")
        of_names = self.value("SELECT MAX(num_parts(name)) FROM named")
        of_images = self.value("SELECT MAX(num_parts(key)) FROM listed WHERE points IS NULL")
        if of_names and of_images and of_names != of_images:
            depth = min(of_names, of_images)
            self.run(
                "CREATE TABLE ended AS SELECT last_parts(name, ?) AS ending, points FROM named "
                "GROUP BY ending HAVING COUNT(*) = 1",
                depth,
            )
            self.run(
                "UPDATE listed SET points = ended.points FROM ended WHERE listed.points IS NULL "
                "AND ended.ending = last_parts(canonical_key(listed.key), ?) AND listed.number IN "
                "(SELECT number FROM listed GROUP BY last_parts(canonical_key(key), ?) "
                "HAVING COUNT(*) = 1)",
                depth,
                depth,
            )
            self.run("DROP TABLE ended")
        self.run("DROP TABLE named")

    def arrange(self, min_images: int, too_few: str, no_landmarks: str | None) -> None:
        """Put the listed images into their final order, and number the identities.

        Args:
            min_images: Int. Images of identities with fewer are skipped.
            too_few: Str. The reason for that.
            no_landmarks: Str or None. The reason to skip images without landmarks; None: keep
                them.
        """
        with self.transaction():
            if no_landmarks is not None:
                self._skip_where("points IS NULL", no_landmarks)
            too_small = "SELECT identity FROM listed GROUP BY identity HAVING COUNT(*) < ?"
            self._skip_where(f"identity IN ({too_small})", too_few, min_images)
            self.run(
                "CREATE TABLE pictures AS SELECT key, identity, file, offset, size, points "
                "FROM listed ORDER BY rank, key"
            )
            self.run("DROP TABLE listed")
            self.run("DROP TABLE landmarks")
            self._number_identities("pictures")
            self.set_meta(arranged=True)

    def divide(self, num_shards: int) -> None:
        """Cut the order into shards of equal numbers of images."""
        ends = [self.num_images * i // num_shards for i in range(num_shards + 1)]
        rows = [(i, ends[i] + 1, ends[i + 1]) for i in range(num_shards)]
        with self.transaction():
            self.run_many("INSERT INTO shards (number, first, last) VALUES (?, ?, ?)", rows)

    @property
    def num_images(self) -> int:
        return self.value("SELECT COUNT(*) FROM pictures")

    @property
    def num_with_landmarks(self) -> int:
        return self.value("SELECT COUNT(*) FROM pictures WHERE points IS NOT NULL")

    @property
    def num_shards(self) -> int:
        return self.value("SELECT COUNT(*) FROM shards")

    def open_shards(self) -> list[tuple[int, int, int]]:
        """Return (number, first position, last position) of the shards still to be written."""
        return self.run(
            "SELECT number, first, last FROM shards WHERE sha256 IS NULL ORDER BY number"
        ).fetchall()

    def items(self, first: int, last: int) -> Iterator[Item]:
        """Yield the images at these positions, in order."""
        rows = self.run(
            "SELECT pictures.rowid, label, key, identity, file, offset, size, points "
            "FROM pictures JOIN people USING (identity) "
            "WHERE pictures.rowid BETWEEN ? AND ? ORDER BY pictures.rowid",
            first,
            last,
        )
        for position, label, key, identity, file, offset, size, points in rows:
            content = ByteRange(file or str(self.spool), offset, size)
            image = ImageRecord(key, identity, content, points and _unpacked(points))
            yield Item(position, label, image)

    def finish_shard(
        self,
        number: int,
        shard: Shard,
        done: Iterable[Done] = (),
        skipped: Iterable[SkippedImage] = (),
    ) -> None:
        """Record, in one step, that a shard is written with the labels of now."""
        done = list(done)
        rows = [(each.position, each.digest, _packed(each.points)) for each in done]
        measured = [(each.position, *each.quality) for each in done if each.quality is not None]
        with self.transaction():
            self.run_many("INSERT INTO done VALUES (?, ?, ?)", rows)
            self.run_many("INSERT INTO measured VALUES (?, ?, ?)", measured)
            self._skip(skipped)
            self.run(
                "UPDATE shards SET num_images = ?, num_bytes = ?, sha256 = ?, labelled = 1 "
                "WHERE number = ?",
                shard.num_images,
                shard.num_bytes,
                shard.sha256,
                number,
            )

    def skip_identities_below(self, min_images: int, reason: str) -> None:
        """Skip identities with too few readable images, and number the others anew."""
        too_small = (
            "SELECT identity FROM pictures LEFT JOIN done ON done.position = pictures.rowid "
            f"GROUP BY identity HAVING COUNT(done.position) < {int(max(min_images, 1))}"
        )
        if not self.value(f"SELECT COUNT(*) FROM people WHERE identity IN ({too_small})"):
            return
        their_images = f"position IN (SELECT rowid FROM pictures WHERE identity IN ({too_small}))"
        with self.transaction():
            self.run(f"INSERT INTO dropped SELECT key, ? FROM {_DONE} WHERE {their_images}", reason)
            self.run(f"DELETE FROM done WHERE {their_images}")
            self._number_identities(_DONE)
            self.run("UPDATE shards SET labelled = 0")

    def label_of(self, identity: str) -> int | None:
        """Return the label of an identity; None for one that is skipped."""
        return self.value("SELECT label FROM people WHERE identity = ?", identity)

    def outdated_shards(self) -> list[int]:
        """Return the numbers of the shards whose labels are no longer those of the identities."""
        rows = self.run("SELECT number FROM shards WHERE labelled = 0 ORDER BY number")
        return [number for (number,) in rows]

    def shards(self) -> list[Shard]:
        """Return the shards, which must all be finished."""
        rows = self.run("SELECT num_images, num_bytes, sha256 FROM shards ORDER BY number")
        total = self.num_shards
        return [Shard(shard_name(number, total), *row) for number, row in enumerate(rows)]

    def identities(self) -> Iterator[tuple[int, str, int]]:
        """Yield (label, identity, images) by label."""
        yield from self.run(
            f"SELECT label, identity, COUNT(*) FROM {_DONE} JOIN people USING (identity) "
            "GROUP BY label ORDER BY label"
        )

    def skipped(self) -> Iterator[SkippedImage]:
        """Yield the skipped images by key."""
        rows = self.run("SELECT key, reason FROM dropped ORDER BY key, reason")
        yield from map(SkippedImage._make, rows)

    def duplicates(self) -> Iterator[Duplicate]:
        """Yield the images whose sources are equal byte for byte, group by group."""
        copies = "SELECT digest FROM done GROUP BY digest HAVING COUNT(*) > 1"
        groups = (
            "SELECT identity, key, MIN(key) OVER same AS first, "
            "MIN(identity) OVER same = MAX(identity) OVER same AS is_same "
            f"FROM {_DONE} WHERE digest IN ({copies}) WINDOW same AS (PARTITION BY digest)"
        )
        rows = self.run(
            "SELECT DENSE_RANK() OVER (ORDER BY first) - 1, IIF(is_same, ?, ?), identity, key "
            f"FROM ({groups}) ORDER BY first, key",
            SAME_IDENTITY,
            SEVERAL_IDENTITIES,
        )
        yield from map(Duplicate._make, rows)

    @property
    def num_measured(self) -> int:
        return self.value(f"SELECT COUNT(*) FROM {_DONE} JOIN measured USING (position)")

    @property
    def num_hashed(self) -> int:
        return self.value(f"SELECT COUNT(hash) FROM {_DONE} JOIN measured USING (position)")

    @property
    def has_detected(self) -> bool:
        return bool(self.value("SELECT COUNT(*) FROM done WHERE points IS NOT NULL"))

    def count_findings(self, bit: int) -> int:
        """Return the number of images with a finding, one bit of their findings."""
        found = f"SELECT COUNT(*) FROM {_DONE} JOIN measured USING (position) WHERE findings & ?"
        return self.value(found, bit)

    def keys_with(self, bit: int, limit: int) -> list[str]:
        """Return the keys of the first images with a finding, which are a random sample."""
        rows = self.run(
            f"SELECT key FROM {_DONE} JOIN measured USING (position) WHERE findings & ? "
            "ORDER BY position LIMIT ?",
            bit,
            limit,
        )
        return [key for (key,) in rows]

    def single_images(self, limit: int) -> tuple[int, list[str]]:
        """Return the number of identities with one image, and the keys of some of these."""
        single = f"SELECT MIN(key) AS key FROM {_DONE} GROUP BY identity HAVING COUNT(*) = 1"
        rows = self.run(f"SELECT key FROM ({single}) ORDER BY key LIMIT ?", limit)
        return self.value(f"SELECT COUNT(*) FROM ({single})"), [key for (key,) in rows]

    def hashes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (N,) and hashes (N, bytes) of the faces, of equal sources one."""
        rows = self.run(
            "SELECT position, hash FROM measured WHERE position IN "
            f"(SELECT MIN(position) FROM {_DONE} GROUP BY digest) ORDER BY position"
        )
        positions, hashes = array.array("q"), bytearray()
        for position, each in rows:
            positions.append(position)
            hashes += each
        shape = len(positions), -1 if positions else 0
        return np.array(positions), np.frombuffer(hashes, np.uint8).reshape(shape)

    def names_at(self, positions: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Return {position: (key, identity)} of the images at these positions."""
        select = "SELECT key, identity FROM pictures WHERE rowid = ?"
        return {each: self.run(select, each).fetchone() for each in positions}

    def images_with(self, keys: Iterable[str]) -> Iterator[ImageRecord]:
        """Yield the finished images of these keys, with the landmarks that were detected."""
        rows = self.run(
            "SELECT key, identity, file, offset, size, COALESCE(done.points, pictures.points) "
            f"FROM {_DONE} WHERE key IN (SELECT value FROM json_each(?)) ORDER BY position",
            json.dumps(list(keys)),
        )
        for key, identity, file, offset, size, points in rows:
            content = ByteRange(file or str(self.spool), offset, size)
            yield ImageRecord(key, identity, content, points and _unpacked(points))

    def landmarks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (key, points) of the detected faces by key."""
        rows = self.run(
            f"SELECT key, done.points FROM {_DONE} WHERE done.points IS NOT NULL ORDER BY key"
        )
        for key, points in rows:
            yield key, _unpacked(points)

    def _skip(self, entries: Iterable[SkippedImage]) -> None:
        self.run_many("INSERT INTO dropped VALUES (?, ?)", entries)

    def _skip_where(self, condition: str, reason: str, *values: Any) -> None:
        select = f"INSERT INTO dropped SELECT key, ? FROM listed WHERE {condition}"
        self.run(select, reason, *values)
        self.run(f"DELETE FROM listed WHERE {condition}", *values)

    def _number_identities(self, images: str) -> None:
        self.run("DELETE FROM people")
        self.run(
            "INSERT INTO people "
            "SELECT identity, ROW_NUMBER() OVER (ORDER BY label_order(identity)) - 1 "
            f"FROM (SELECT DISTINCT identity FROM {images})"
        )


def _row(image: ImageRecord, spool: BinaryIO, seed: int) -> tuple:
    """Return a row of `listed`; bytes that lie in no file are put into the spool."""
    content = image.content
    if not isinstance(content, ByteRange):
        start = spool.tell()
        content = ByteRange("", start, spool.write(content))
    rank = rank_of(image.key, seed) - RANKS // 2  # SQLite's integers are signed
    return rank, image.key, image.identity, *content, _packed(image.landmarks)


def _packed(points: np.ndarray | None) -> bytes | None:
    return None if points is None else np.asarray(points, np.float64).tobytes()


def _unpacked(points: bytes) -> np.ndarray:
    return np.frombuffer(points, np.float64).reshape(5, 2)
