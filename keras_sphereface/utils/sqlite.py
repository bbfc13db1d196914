"""What the SQLite files of the package do alike: statements, and transactions as a whole."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any


class SqliteFile:
    """An open SQLite file whose transactions are begun by hand.

    Args:
        connection: Connection with `isolation_level=None`.

    Example:
        >>> file = SqliteFile(sqlite3.connect(":memory:", isolation_level=None))
        >>> with file.transaction():
        ...     cursor = file.run("CREATE TABLE faces (name)")
        ...     file.run_many("INSERT INTO faces VALUES (?)", [("ann",), ("bob",)])
        >>> file.value("SELECT COUNT(*) FROM faces")
        2
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, all or none."""
        self._begin()
        try:
            yield
        except BaseException:
            # After a full disk SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute a statement with these values for its question marks."""
        return self._connection.execute(statement, values)

    def run_many(self, statement: str, rows: Iterable[tuple]) -> None:
        """Execute a statement for each row of values."""
        self._connection.executemany(statement, rows)

    def value(self, query: str, *values: Any) -> Any:
        """Return the first value of the first row; None if there is no row."""
        row = self.run(query, *values).fetchone()
        return None if row is None else row[0]

    def _begin(self) -> None:
        """Begin a transaction that writes."""
        self.run("BEGIN EXCLUSIVE")
