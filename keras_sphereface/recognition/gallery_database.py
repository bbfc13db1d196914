"""The PostgreSQL store of a gallery: its tables, its transactions, its index.

Needs the extension pgvector in the database and the package psycopg, which is imported when a URL
is opened.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_sphereface.recognition.gallery_store import SCHEMA_VERSION, GalleryStore
from keras_sphereface.recognition.nearest_index import NearestIndex
from keras_sphereface.recognition.postgres import DatabaseLocation, first_line
from keras_sphereface.utils.progress import stage

BUSY_SECONDS = 30.0  # a process waits for another one's transaction
READ_AT_ONCE = 1000  # rows
# `vector` without a size: that of the first template decides, as in a file. The statistics of the
# planner would hold copies of values, which outlast a removal. Vectors stay in their rows as long
# as these fit into a page: a scan that fetched each one from elsewhere would take several times as
# long.
TABLES = """
CREATE TABLE metadata (key text PRIMARY KEY, value jsonb);
CREATE TABLE identities (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);
CREATE TABLE templates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity bigint NOT NULL REFERENCES identities (id) ON DELETE CASCADE,
    source text NOT NULL,
    quality double precision,
    embedding vector NOT NULL,
    UNIQUE (identity, source)
);
CREATE TABLE images (
    template bigint PRIMARY KEY REFERENCES templates (id) ON DELETE CASCADE,
    content bytea NOT NULL
);
ALTER TABLE identities ALTER COLUMN name SET STATISTICS 0;
ALTER TABLE templates ALTER COLUMN source SET STATISTICS 0;
ALTER TABLE templates ALTER COLUMN embedding SET STATISTICS 0;
ALTER TABLE templates ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE images ALTER COLUMN content SET STATISTICS 0
"""
INDEX = "templates_embedding"
NEIGHBORS, BUILD_BREADTH, SEARCH_BREADTH = 16, 64, 256  # of a node; candidates held at once
MOST_BREADTH = 1000  # that pgvector allows
# What the server may take while it builds the graph; of a node beside its vector about 300 bytes.
LEAST_INDEX_MEMORY, MOST_INDEX_MEMORY, BYTES_OF_NODE = 64 << 20, 4 << 30, 600
# pgvector indexes vectors up to the first size, and in half precision up to the second.
MOST_VECTOR, MOST_HALFVEC = 2000, 4000
_REWRITTEN = ("images", "templates", "identities")  # by a removal


class GalleryDatabase(GalleryStore):
    """An open gallery in a schema of a PostgreSQL database.

    A connection that was lost is made anew by the next call; what had not been confirmed is gone.

    Args:
        url: `postgresql://USER@HOST:PORT/DATABASE`, and maybe `?schema=NAME` among the parameters
            that libpq knows; by default the schema is "sphereface".

    Raises:
        ImportError: Without psycopg.
        ConnectionError: If the server cannot be reached.
        FileNotFoundError: If there is no gallery.
        ValueError: If it has another schema version, or pgvector is too old.
    """

    index_kind = "pgvector HNSW"
    index_above = 10_000
    removal_remains = (
        "the bytes are still in the tables: another session is using them, or the user of the URL "
        "does not own them. They go when their owner next opens the gallery alone"
    )

    def __init__(self, url: str) -> None:
        self._location = DatabaseLocation(url)
        self.place = self._location.shown
        self._connection = self._location.connect()
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        if self.value("SELECT to_regclass(?)", f"{self._location.quoted_schema}.metadata") is None:
            raise FileNotFoundError(
                "A gallery must be in the database; `sphereface gallery create` or "
                f"`Gallery.create` makes one. Received: {self.place}"
            )
        self._check_schema_version(self.get_meta("schema_version"))

    def close(self) -> None:
        """Close the connection; what was confirmed is in the database."""
        self._connection.close()

    def run(self, statement: str, *values: Any) -> Any:
        """Execute a statement with these values for its question marks."""
        with self._errors():
            return self._connection.execute(_marked(statement), values, binary=True)

    def run_many(self, statement: str, rows: Iterable[tuple]) -> None:
        """Execute a statement for each row of values."""
        for row in rows:
            self.run(statement, *row)

    def value(self, query: str, *values: Any) -> Any:
        """Return the first value of the first row; None if there is no row."""
        row = self.run(query, *values).fetchone()
        return None if row is None else row[0]

    def blocks(self, query: str, *values: Any) -> Iterator[list[tuple]]:
        """Yield the rows of a query some at a time: the server keeps the others."""
        with self._errors(), self._connection.cursor(name="blocks") as cursor:
            cursor.execute(_marked(query), values, binary=True)
            while rows := cursor.fetchmany(READ_AT_ONCE):
                yield rows

    @property
    def is_in_transaction(self) -> bool:
        """True within `transaction` or `snapshot`."""
        return self._connection.info.transaction_status != 0  # libpq's IDLE

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, all or none; within another transaction, with that."""
        if self.is_in_transaction:
            yield
            return
        with self._between("BEGIN"):
            self.run(f"SET LOCAL lock_timeout = {1000 * BUSY_SECONDS:.0f}")
            # Writers take turns, as with a file: numbers of templates are confirmed as they rise.
            self.run("SELECT 1 FROM metadata WHERE key = 'version' FOR UPDATE")
            yield

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that the block reads be of one moment."""
        if self.is_in_transaction:
            yield
            return
        with self._between("BEGIN ISOLATION LEVEL REPEATABLE READ"):
            yield

    @contextlib.contextmanager
    def _between(self, begin: str) -> Iterator[None]:
        self.run(begin)
        try:
            yield
        except BaseException:
            if not self._connection.closed:
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def set_meta(self, **values: Any) -> None:
        """Set values of the metadata."""
        from psycopg.types.json import Jsonb

        super().set_meta(**{key: Jsonb(value) for key, value in values.items()})

    def embeddings_of(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Return values of the column `embedding` as float32 (N, D)."""
        return np.stack(values)

    def _embedding_value(self, row: np.ndarray) -> np.ndarray:
        return row

    def erase_removed(self) -> bool:
        """Write the tables anew without what was removed; return whether it could be done now.

        A plain VACUUM would leave the bytes in the free space of their pages. While any session of
        the database has a snapshot from before the removal, PostgreSQL keeps removed rows for it,
        and says how many.
        """
        from psycopg import errors

        kept_rows: list[int] = []

        def count_kept(notice: Any) -> None:
            # "12 dead row versions cannot be removed yet": the first number, in any language.
            if number := re.search(r"\d+", notice.message_detail or ""):
                kept_rows.append(int(number.group()))

        self._reconnect()
        self._connection.add_notice_handler(count_kept)
        try:
            self.run(f"SET lock_timeout = {1000 * BUSY_SECONDS:.0f}")
            self.run(f"VACUUM (FULL, VERBOSE) {', '.join(_REWRITTEN)}")
        except (BlockingIOError, errors.DeadlockDetected):
            return False
        finally:
            self._connection.remove_notice_handler(count_kept)
        # Tables of another owner are left out, with a notice that has no number.
        return len(kept_rows) == len(_REWRITTEN) and not any(kept_rows)

    def build_index(self) -> "DatabaseIndex":
        """Let the server build an index in place of an earlier one; writers wait meanwhile.

        Raises:
            ValueError: If pgvector has no index for embeddings of this size.
        """
        index = DatabaseIndex(self)
        needed = self.num_templates() * (4 * index.dim + BYTES_OF_NODE)
        with self.transaction(), stage("building the index"):
            # A graph that does not fit is built many times slower.
            kilobytes = min(max(needed, LEAST_INDEX_MEMORY), MOST_INDEX_MEMORY) // 1024
            self.run(f"SET LOCAL maintenance_work_mem = {kilobytes}")
            self.run(f"DROP INDEX IF EXISTS {INDEX}")
            self.run(
                f"CREATE INDEX {INDEX} ON templates USING hnsw "
                f"(({index.column}) {index.type}_cosine_ops) "
                f"WITH (m = {NEIGHBORS}, ef_construction = {BUILD_BREADTH})"
            )
            self.set_meta(index="hnsw")
        return index

    def open_index(self) -> "DatabaseIndex":
        """Return the index of the server."""
        return DatabaseIndex(self)

    def _reconnect(self) -> None:
        if self._connection.closed:
            self._connection = self._location.connect()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """The errors of the server that a user can do something about, in words."""
        import psycopg

        self._reconnect()
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            raise BlockingIOError(
                f"Another process has been writing to the gallery for {BUSY_SECONDS:g} s; try "
                f"again when it has ended. Received: {self.place}"
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise PermissionError(
                "The user of the URL must be allowed to read and write the schema of the gallery. "
                f"Received: {self.place}: {first_line(error)}"
            ) from error
        except psycopg.OperationalError as error:
            if not self._connection.closed:
                raise RuntimeError(
                    f"The server of the gallery could not do it. Received: {self.place}: "
                    f"{first_line(error)}"
                ) from error
            raise ConnectionError(
                "The connection to the gallery was lost; what was not confirmed is not in it. Try "
                f"again. Received: {self.place}: {first_line(error)}"
            ) from error


class DatabaseIndex(NearestIndex):
    """The HNSW index of a gallery in PostgreSQL, which follows every change of its table.

    Args:
        store: The open store, whose templates have a size.
    """

    def __init__(self, store: GalleryDatabase) -> None:
        self.dim = dim = store.get_meta("dim")
        if not 0 < dim <= MOST_HALFVEC:
            raise ValueError(
                f"pgvector indexes embeddings of up to {MOST_HALFVEC} numbers; larger ones are "
                f"compared one by one. Received: {dim} in {store.place}"
            )
        self._store = store
        self.type = "vector" if dim <= MOST_VECTOR else "halfvec"
        self.column = f"embedding::{self.type}({dim})"

    def nearest(self, probe: np.ndarray, count: int) -> list[int]:
        """Return numbers of about the `count` templates most similar to a unit row (D,)."""
        breadth = min(MOST_BREADTH, max(SEARCH_BREADTH, count))
        self._store.run(
            "SELECT set_config('hnsw.ef_search', ?, true), "
            "set_config('hnsw.iterative_scan', 'strict_order', true), "
            "set_config('hnsw.max_scan_tuples', ?, true), "
            "set_config('enable_seqscan', 'off', true)",
            str(breadth),
            str(max(20_000, 4 * count)),
        )
        rows = self._store.run(
            f"SELECT id FROM templates ORDER BY ({self.column}) <=> ?::{self.type} LIMIT {count}",
            probe,
        )
        return [row[0] for row in rows]


def create_database(url: str, **metadata: Any) -> None:
    """Write a gallery without identities; it appears whole or not at all.

    Only the user of the URL may read it, unless the database gives more: templates are biometric
    data.

    Raises:
        FileExistsError: If there is a gallery in the schema.
        PermissionError: If the user may not make it, or pgvector is not there.
    """
    location = DatabaseLocation(url)
    with contextlib.closing(location.connect(adapt=False)) as connection:
        import psycopg
        from psycopg.types.json import Jsonb

        try:
            with connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {location.quoted_schema}")
                for statement in TABLES.split(";"):
                    connection.execute(statement)
                for key, value in {"schema_version": SCHEMA_VERSION, **metadata}.items():
                    values = (key, Jsonb(value))
                    connection.execute("INSERT INTO metadata VALUES (%s, %s)", values)
        # Two that create it at once: the second one meets a name that has just come to be there.
        except (psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation) as error:
            raise FileExistsError(
                "A gallery must be new: the schema holds tables of these names already. Name "
                f"another one, ?schema=NAME, or enroll into it. Received: {location.shown}"
            ) from error
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.UndefinedFile,
            psycopg.errors.FeatureNotSupported,
        ) as error:
            raise PermissionError(
                "The user of the URL must be allowed to make a schema, and the database must have "
                "pgvector, or the user be allowed to make it: CREATE EXTENSION vector. "
                f"Received: {location.shown}: {first_line(error)}"
            ) from error


def _marked(statement: str) -> Any:
    """The statement as psycopg takes it."""
    return statement.replace("?", "%s")
