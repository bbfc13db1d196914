"""The SQLite file of a gallery: its tables, its transactions, what is wrong with it."""

import contextlib
import glob
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_sphereface.recognition.faiss_index import KIND, FaissIndex, import_faiss
from keras_sphereface.recognition.gallery_store import SCHEMA_VERSION, SET_META, GalleryStore
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import warn
from keras_sphereface.utils.sqlite import SqliteFile

APPLICATION_ID = 0x53464753  # in the header of the file, so that no other database is taken for one
# Seven templates of 512 numbers fill a page; the 4,096 bytes by default would hold a single one.
PAGE_BYTES = 16_384
BUSY_SECONDS = 30.0  # a process waits for another one's transaction
READ_AT_ONCE = 4096  # rows
_STORED = np.dtype("<f4")  # of a template in the file
TABLES = """
CREATE TABLE metadata (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE identities (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE templates (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity INTEGER NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    quality REAL,
    embedding BLOB NOT NULL,
    UNIQUE (identity, source)
);
CREATE TABLE images (
    template INTEGER PRIMARY KEY REFERENCES templates (id) ON DELETE CASCADE,
    content BLOB NOT NULL
)
"""


class GalleryFile(SqliteFile, GalleryStore):
    """An open file of a gallery, in WAL mode: readers and one writer do not wait for each other.

    Attributes:
        path: Path of the file.

    Raises:
        FileNotFoundError, ValueError: If there is no file, or no gallery.
    """

    index_kind = KIND
    index_above = 100_000
    removal_remains = (
        "the bytes are still in the file: another process is using it. They go when the gallery "
        "is next opened alone"
    )

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.place = str(path)
        if not self.path.is_file():
            raise FileNotFoundError(
                "A gallery must be a file that exists; `sphereface gallery create` or "
                f"`Gallery.create` makes one. Received: {self.path}"
            )
        super().__init__(_connect(self.path))
        try:
            self._check()
            _set_up(self._connection)
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        try:
            is_gallery = self.value("PRAGMA application_id") == APPLICATION_ID
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            is_gallery = False
        if not is_gallery:
            raise ValueError(f"`gallery` must be the file of a gallery. Received: {self.path}")
        self._check_schema_version(self.value("PRAGMA user_version"))

    def close(self) -> None:
        """Close the file; what was confirmed is in it."""
        self._connection.close()

    @property
    def is_in_transaction(self) -> bool:
        """True within `transaction` or `snapshot`."""
        return self._connection.in_transaction

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, all or none; within another transaction, with that."""
        if self.is_in_transaction:
            yield
            return
        with super().transaction():
            yield

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that the block reads be of one moment."""
        if self.is_in_transaction:
            yield
            return
        self.run("BEGIN")
        try:
            yield
        finally:
            self.run("COMMIT")

    def _begin(self) -> None:
        try:
            self.run("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise BlockingIOError(
                    f"Another process has been writing to the gallery for {BUSY_SECONDS:g} s; try "
                    f"again when it has ended. Received: {self.path}"
                ) from error
            if "readonly" in str(error):
                raise PermissionError(
                    f"The gallery must be a file that may be written. Received: {self.path}"
                ) from error
            raise

    def blocks(self, query: str, *values: Any) -> Iterator[list[tuple]]:
        """Yield the rows of a query some thousands at a time."""
        cursor = self.run(query, *values)
        while rows := cursor.fetchmany(READ_AT_ONCE):
            yield rows

    def embeddings_of(self, values: Sequence[bytes]) -> np.ndarray:
        """Return values of the column `embedding` as float32 (N, D)."""
        return np.frombuffer(b"".join(values), _STORED).reshape(len(values), -1)

    def _embedding_value(self, row: np.ndarray) -> bytes:
        return row.astype(_STORED).tobytes()

    def build_index(self) -> FaissIndex:
        """Build an index in a file beside the gallery, in place of an earlier one.

        Raises:
            ImportError: Without FAISS.
        """
        import_faiss()
        with self.snapshot():
            index = FaissIndex.build(self)
        with self.transaction():
            self._put_index(index)
        self._remove_indexes()
        return index

    def open_index(self) -> FaissIndex | None:
        """Return the index of the metadata; None without FAISS, or if its file is gone."""
        path = self._index_path()
        try:
            import_faiss()
            return FaissIndex.read(path) if path.is_file() else None
        except ImportError as error:
            warn(str(error))
            return None

    def _put_index(self, index: FaissIndex) -> None:
        """Write the file of an index without what has been removed, and name it; in a transaction.

        Each has a name of its own, so that no process takes one for another.
        """
        index.erase(self.template_numbers(up_to=index.last))
        token = secrets.token_hex(4)
        index.write(self._index_path(token))
        self.set_meta(index=token)

    def _index_path(self, token: str = "") -> Path:
        token = token or str(self.get_meta("index"))
        return self.path.with_name(f"{self.path.name}-{token}.faiss")

    def _remove_indexes(self) -> None:
        """Remove the files of all indexes but that of the metadata."""
        kept = self._index_path()
        for path in self.path.parent.glob(f"{glob.escape(self.path.name)}-*.faiss"):
            if path != kept:
                path.unlink(missing_ok=True)

    def _erase_from_index(self) -> None:
        with self.transaction():
            index = self.open_index() if self.get_meta("index") else None
            if index is not None:
                self._put_index(index)
            else:
                self.set_meta(index=None)
        self._remove_indexes()

    def erase_removed(self) -> bool:
        """Write the file anew without what was removed, and empty its log; return whether it is.

        `secure_delete` overwrites rows where they stand; copies that SQLite left when it moved them
        from page to page remain, and older pages are in the log. Nothing of either outlasts this.
        It is not done while another process reads or writes.
        """
        self._erase_from_index()
        try:
            self.run("VACUUM")
            is_busy, _, _ = self.run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "readonly" in str(error):
                return False
            raise
        return not is_busy


def create_file(path: Path, **metadata: Any) -> None:
    """Write a gallery without identities; it appears whole or not at all.

    Only the user may read it: templates are biometric data.

    Raises:
        FileExistsError: If there is something under this name.
    """
    if path.exists():
        raise FileExistsError(
            f"A gallery must be a new file; remove the old one, or enroll into it. Received: {path}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        # A log that a killed process left would be taken for one of the new file.
        for suffix in ("", "-wal", "-shm", "-journal"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(_connect(partial)) as connection:
            _set_up(connection)
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("PRAGMA journal_mode = WAL")  # the file remembers it
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.executemany(SET_META, metadata.items())


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")  # on the disk before it is confirmed
