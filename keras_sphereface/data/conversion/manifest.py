"""The plan of a conversion: which image goes where, and what is done; a database on the disk.

SQLite sorts, joins and counts in bounded memory however many images there are, and what it
committed survives a process that is killed at any moment.
"""

import contextlib
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from keras_sphereface.data.conversion.ordering import RANKS, number_of, rank_of
from keras_sphereface.data.records import Shard
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE listed (number INTEGER PRIMARY KEY, rank INTEGER, key TEXT, identity TEXT,
                     file TEXT, offset INTEGER, size INTEGER, points BLOB);
CREATE TABLE landmarks (key TEXT PRIMARY KEY, points BLOB) WITHOUT ROWID;
CREATE TABLE dropped (key TEXT, reason TEXT);
CREATE TABLE people (identity TEXT PRIMARY KEY, label INTEGER) WITHOUT ROWID;
CREATE TABLE shards (number INTEGER PRIMARY KEY, first INTEGER, last INTEGER,
                     num_images INTEGER, num_bytes INTEGER, sha256 TEXT, labelled INTEGER);
CREATE TABLE done (position INTEGER PRIMARY KEY, digest BLOB, points BLOB);
"""
SAME_IDENTITY, SEVERAL_IDENTITIES = "same identity", "several identities"
_CACHE_KILOBYTES = 65_536
_ROWS = 64  # written at once: few, as images may come with their bytes
_TEMPORARY = "SQLITE_TMPDIR"


class Item(NamedTuple):
    """An image of the plan, its place in the global order (from 1) and its label."""

    position: int
    label: int
    image_record: ImageRecord


class Done(NamedTuple):
    """What is kept of an image whose record is written: its place, digest and landmarks."""

    position: int
    digest: bytes
    points: np.ndarray | None


class Duplicate(NamedTuple):
    """An image whose bytes another image has as well.

    Attributes:
        group: the same number for the same bytes, in the order of the first keys.
        kind: whether one person has them all.
        identity, key: of the image.
    """

    group: int
    kind: str
    identity: str
    key: str


class Manifest:
    """The database FOLDER/plan.sqlite, and FOLDER/images for bytes that no file holds plainly.

    Raises:
        BlockingIOError: if another process works on it.
    """

    FILE = "plan.sqlite"

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.spool = folder / "pictures"
        # SQLite sorts what is larger than its memory in files, by default on another disk.
        self._before = os.environ.get(_TEMPORARY)
        os.environ[_TEMPORARY] = str(folder)
        self._database = sqlite3.connect(folder / self.FILE, isolation_level=None, timeout=0)
        try:
            self._run("PRAGMA locking_mode = EXCLUSIVE")
            self._run(f"PRAGMA cache_size = -{_CACHE_KILOBYTES}")
            with self._transaction():
                if not self._one("SELECT COUNT(*) FROM sqlite_master"):
                    self._make_tables()
        except sqlite3.OperationalError as error:
            self.close()
            if "locked" not in str(error):
                raise
            raise BlockingIOError(f"Another conversion works there. Received: {folder}") from error
        self._database.create_function("number_of", 1, number_of, deterministic=True)

    def close(self) -> None:
        self._database.close()
        if self._before is None:
            os.environ.pop(_TEMPORARY, None)
        else:
            os.environ[_TEMPORARY] = self._before

    def clear(self) -> None:
        """Forget everything, and never let go of the lock."""
        with self._transaction():
            tables = self._run("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                self._run(f"DROP TABLE {table}")
            self._make_tables()

    def _make_tables(self):
        # `executescript` would commit on its own.
        for statement in _TABLES.split(";"):
            self._run(statement)

    def get_meta(self, name: str):
        """What was remembered under this name; None if nothing was."""
        value = self._one("SELECT value FROM facts WHERE name = ?", name)
        return None if value is None else json.loads(value)

    def set_meta(self, **facts) -> None:
        """Keep facts, each of what JSON can hold."""
        rows = [(name, json.dumps(value)) for name, value in facts.items()]
        self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def list_images(
        self,
        entries: Iterable[ImageRecord | SkippedImage],
        seed: int,
        same_key: str,
        facts: Callable[[], dict],
    ) -> None:
        """Take in what a source holds, and facts that are known at its end, all or nothing.

        Of images with the same key the first stays; `same_key` is what to say of the others.

        The order of the records is that of a hash of seed and key: a shuffle over all images
        that depends on nothing else.
        """
        with self._transaction(), open(self.spool, "wb") as spool:
            remaining = iter(entries)
            while some := list(itertools.islice(remaining, _ROWS)):
                self._drop(entry for entry in some if isinstance(entry, SkippedImage))
                rows = [
                    _row(entry, spool, seed) for entry in some if isinstance(entry, ImageRecord)
                ]
                insert = "INSERT INTO listed VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
                self._database.executemany(insert, rows)
            self._drop_where(
                "number NOT IN (SELECT MIN(number) FROM listed GROUP BY rank, key)",
                same_key,
            )
            self.set_meta(listed=True, **facts())

    def add_landmarks(self, landmarks: Iterable[tuple[str, np.ndarray]]) -> None:
        """Give each listed image the points that stand under its key, if any do."""
        with self._transaction():
            rows = ((key, _packed(points)) for key, points in landmarks)
            self._database.executemany("INSERT OR REPLACE INTO landmarks VALUES (?, ?)", rows)
            found = "(SELECT points FROM landmarks WHERE landmarks.key = listed.key)"
            self._run(f"UPDATE listed SET points = {found} WHERE {found} IS NOT NULL")
            self.set_meta(landmarks=True)

    def arrange(self, min_images: int, need_landmarks: bool, reasons: tuple[str, str]) -> None:
        """Put the listed images into their final order, and number the people.

        Args:
            min_images: drop the images of people with fewer.
            need_landmarks: drop images without.
            reasons: what to say of the dropped, without landmarks and of people with few.
        """
        no_landmarks, too_few = reasons
        with self._transaction():
            if need_landmarks:
                self._drop_where("points IS NULL", no_landmarks)
            few = "SELECT identity FROM listed GROUP BY identity HAVING COUNT(*) < ?"
            self._drop_where(f"identity IN ({few})", too_few, min_images)
            self._run(
                "CREATE TABLE pictures AS SELECT key, identity, file, offset, size, points "
                "FROM listed ORDER BY rank, key"
            )
            self._run("DROP TABLE listed")
            self._run("DROP TABLE landmarks")
            self._number_people("SELECT DISTINCT identity FROM pictures")
            self.set_meta(arranged=True)

    def divide(self, num_shards: int) -> None:
        """Cut the order into shards of equal numbers of images."""
        total = self.num_images
        ends = [total * (i + 1) // num_shards for i in range(num_shards)]
        rows = [
            (i, first + 1, last)
            for i, (first, last) in enumerate(zip([0, *ends], ends, strict=False))
        ]
        with self._transaction():
            self._database.executemany(
                "INSERT INTO shards (number, first, last) VALUES (?, ?, ?)", rows
            )

    @property
    def num_with_landmarks(self) -> int:
        return self._one("SELECT COUNT(*) FROM pictures WHERE points IS NOT NULL")

    @property
    def num_images(self) -> int:
        return self._one("SELECT COUNT(*) FROM pictures")

    @property
    def num_shards(self) -> int:
        return self._one("SELECT COUNT(*) FROM shards")

    @property
    def num_finished(self) -> int:
        """Images in shards that are finished, the dropped ones included."""
        return self._one(
            "SELECT COALESCE(SUM(last - first + 1), 0) FROM shards WHERE sha256 IS NOT NULL"
        )

    def open_shards(self) -> list[tuple[int, int, int]]:
        """(number, first position, last position) of the shards still to be written."""
        rows = self._run(
            "SELECT number, first, last FROM shards WHERE sha256 IS NULL ORDER BY number"
        )
        return rows.fetchall()

    def items(self, first: int, last: int) -> Iterator[Item]:
        """The images at these positions, in order."""
        rows = self._run(
            "SELECT pictures.rowid, label, key, identity, file, offset, size, points "
            "FROM pictures JOIN people USING (identity) "
            "WHERE pictures.rowid BETWEEN ? AND ? ORDER BY pictures.rowid",
            first,
            last,
        )
        for position, label, key, identity, file, offset, size, points in rows:
            span = ByteRange(file or str(self.spool), offset, size)
            yield Item(
                position, label, ImageRecord(key, identity, span, points and _unpacked(points))
            )

    def finish_shard(
        self,
        number: int,
        shard: Shard,
        done: Iterable[Done],
        dropped: Iterable[SkippedImage],
    ) -> None:
        """Keep, in one step, that a shard is written."""
        rows = [(position, digest, _packed(points)) for position, digest, points in done]
        with self._transaction():
            self._database.executemany("INSERT INTO done VALUES (?, ?, ?)", rows)
            self._drop(dropped)
            self._set_shard(number, shard)

    def drop_people_below(self, min_images: int, reason: str) -> None:
        """Number the people anew if some have fewer readable images than they need."""
        counts = (
            "SELECT identity, COUNT(done.position) AS count FROM pictures "
            "LEFT JOIN done ON done.position = pictures.rowid GROUP BY identity"
        )
        few = f"SELECT identity FROM ({counts}) WHERE count < {int(max(min_images, 1))}"
        theirs = f"position IN (SELECT rowid FROM pictures WHERE identity IN ({few}))"
        left = f"SELECT COUNT(*) FROM people WHERE identity IN ({few})"
        if not self._one(left):
            return
        with self._transaction():
            self._run(
                "INSERT INTO dropped SELECT key, ? FROM done JOIN pictures "
                f"ON done.position = pictures.rowid WHERE {theirs}",
                reason,
            )
            self._run(f"DELETE FROM done WHERE {theirs}")
            self._number_people(
                "SELECT DISTINCT identity FROM pictures JOIN done ON done.position = pictures.rowid"
            )
            self._run("UPDATE shards SET labelled = 0")

    def label_of(self, identity: str) -> int | None:
        """The label of a person; None for one who was left out."""
        return self._one("SELECT label FROM people WHERE identity = ?", identity)

    def outdated_shards(self) -> list[int]:
        """The finished shards whose labels are those from before some people left."""
        return [
            number
            for (number,) in self._run(
                "SELECT number FROM shards WHERE labelled = 0 ORDER BY number"
            )
        ]

    def relabelled(self, number: int, shard: Shard) -> None:
        """Keep that a shard was written with the new labels."""
        with self._transaction():
            self._set_shard(number, shard)

    def shards(self) -> list[tuple[int, int, str]]:
        """(images, bytes, checksum) of each finished shard."""
        return self._run(
            "SELECT num_images, num_bytes, sha256 FROM shards ORDER BY number"
        ).fetchall()

    def people(self) -> Iterator[tuple[int, str, int]]:
        """(label, identity, images) of everyone, by label."""
        yield from self._run(
            "SELECT label, identity, COUNT(*) FROM done JOIN pictures "
            "ON done.position = pictures.rowid JOIN people USING (identity) "
            "GROUP BY label ORDER BY label"
        )

    def dropped(self, limit: int = -1) -> Iterator[SkippedImage]:
        """What is in no record, by key."""
        rows = self._run("SELECT key, reason FROM dropped ORDER BY key, reason LIMIT ?", limit)
        yield from map(SkippedImage._make, rows)

    def skipped_by_reason(self) -> dict[str, int]:
        """{reason: count}, the most frequent first."""
        return dict(
            self._run(
                "SELECT reason, COUNT(*) AS count FROM dropped GROUP BY reason "
                "ORDER BY count DESC, reason"
            )
        )

    @property
    def num_identities(self) -> int:
        return self._one("SELECT COUNT(*) FROM people")

    def duplicates(self) -> Iterator[Duplicate]:
        """The images whose sources are equal byte for byte, in groups of two and more."""
        rows = self._run(
            "WITH copies AS (SELECT digest FROM done GROUP BY digest HAVING COUNT(*) > 1), "
            "found AS (SELECT digest, identity, key FROM copies JOIN done USING (digest) "
            "JOIN pictures ON done.position = pictures.rowid), "
            "groups AS (SELECT digest, MIN(key) AS first, COUNT(DISTINCT identity) = 1 AS same "
            "FROM found GROUP BY digest) "
            "SELECT DENSE_RANK() OVER (ORDER BY first) - 1, IIF(same, ?, ?), identity, key "
            "FROM found JOIN groups USING (digest) ORDER BY first, key",
            SAME_IDENTITY,
            SEVERAL_IDENTITIES,
        )
        yield from map(Duplicate._make, rows)

    def landmarks(self) -> Iterator[tuple[str, np.ndarray]]:
        """The points that the faces in the records were aligned by, by key."""
        rows = self._run(
            "SELECT key, done.points FROM done JOIN pictures ON done.position = pictures.rowid "
            "WHERE done.points IS NOT NULL ORDER BY key"
        )
        for key, points in rows:
            yield key, _unpacked(points)

    def _run(self, statement: str, *values):
        return self._database.execute(statement, values)

    def _one(self, query: str, *values):
        row = self._run(query, *values).fetchone()
        return None if row is None else row[0]

    @contextlib.contextmanager
    def _transaction(self):
        self._run("BEGIN EXCLUSIVE")
        try:
            yield
        except BaseException:
            # After a full disk SQLite has rolled back by itself.
            if self._database.in_transaction:
                self._run("ROLLBACK")
            raise
        self._run("COMMIT")

    def _drop(self, entries: Iterable[SkippedImage]) -> None:
        self._database.executemany("INSERT INTO dropped VALUES (?, ?)", entries)

    def _drop_where(self, condition: str, reason: str, *values) -> None:
        select = f"INSERT INTO dropped SELECT key, ? FROM listed WHERE {condition}"
        self._run(select, reason, *values)
        self._run(f"DELETE FROM listed WHERE {condition}", *values)

    def _number_people(self, query: str) -> None:
        # Names that are numbers count by their value: label 10 comes after label 9.
        self._run("DELETE FROM people")
        self._run(
            "INSERT INTO people SELECT identity, ROW_NUMBER() OVER (ORDER BY "
            f"number_of(identity) IS NULL, number_of(identity), identity) - 1 FROM ({query})"
        )

    def _set_shard(self, number: int, shard: Shard) -> None:
        self._run(
            "UPDATE shards SET num_images = ?, num_bytes = ?, sha256 = ?, labelled = 1 "
            "WHERE number = ?",
            shard.num_images,
            shard.num_bytes,
            shard.sha256,
            number,
        )


def _row(image_record: ImageRecord, spool: BinaryIO, seed: int) -> tuple:
    """A row of `listed`; bytes that lie in no file are put into the spool."""
    place = image_record.content
    if not isinstance(place, ByteRange):
        start = spool.tell()
        place = ByteRange("", start, spool.write(place))
    rank = rank_of(image_record.key, seed) - RANKS // 2  # SQLite's integers are signed
    return rank, image_record.key, image_record.identity, *place, _packed(image_record.landmarks)


def _packed(points: Sequence | np.ndarray | None) -> bytes | None:
    return None if points is None else np.asarray(points, np.float64).tobytes()


def _unpacked(points: bytes) -> np.ndarray:
    return np.frombuffer(points, np.float64).reshape(5, 2)
