"""An SQLite database that one process works on at a time."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_sphereface.utils.sqlite import SqliteFile

_CACHE_KILOBYTES = 65_536
_SORT_FOLDER = "SQLITE_TMPDIR"


class Database(SqliteFile):
    """The database FOLDER/`file`, locked until it is closed.

    Args:
        folder: Path of a folder, which is made.
        file: Str. Name of the file in it.
        tables: Str. SQL that creates the tables, separated by semicolons.

    Raises:
        BlockingIOError: if another process works on it.
    """

    def __init__(self, folder: Path, file: str, tables: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._tables = tables
        # SQLite sorts what is larger than its memory in files, by default on another disk.
        self._sort_folder = os.environ.get(_SORT_FOLDER)
        os.environ[_SORT_FOLDER] = str(folder)
        super().__init__(sqlite3.connect(folder / file, isolation_level=None, timeout=0))
        try:
            self.run("PRAGMA locking_mode = EXCLUSIVE")
            self.run(f"PRAGMA cache_size = -{_CACHE_KILOBYTES}")
            with self.transaction():
                if not self.value("SELECT COUNT(*) FROM sqlite_master"):
                    self._make_tables()
        except sqlite3.DatabaseError as error:
            self.close()
            if "locked" not in str(error):
                raise
            raise BlockingIOError(
                "Another conversion writes to this folder; wait for its end, or set --out to "
                f"another folder. Received: {folder}"
            ) from error

    def close(self) -> None:
        """Let go of the database and its lock."""
        self._connection.close()
        if self._sort_folder is None:
            os.environ.pop(_SORT_FOLDER, None)
        else:
            os.environ[_SORT_FOLDER] = self._sort_folder

    def clear(self) -> None:
        """Make all tables anew without letting go of the lock."""
        with self.transaction():
            tables = self.run("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                self.run(f"DROP TABLE {table}")
            self._make_tables()

    def create_function(
        self, name: str, function: Callable[..., Any], num_arguments: int = 1
    ) -> None:
        """Let SQL call a function that depends on nothing but its arguments."""
        self._connection.create_function(name, num_arguments, function, deterministic=True)

    def _make_tables(self) -> None:
        # `executescript` would commit on its own.
        for statement in self._tables.split(";"):
            self.run(statement)
