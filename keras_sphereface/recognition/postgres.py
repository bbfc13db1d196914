"""A PostgreSQL server with pgvector: its URL, the connection, and rows of NumPy in it."""

import re
import struct
import urllib.parse
from typing import Any

import numpy as np

URL_SCHEMES = ("postgresql://", "postgres://")
DEFAULT_SCHEMA = "sphereface"
CONNECT_SECONDS = 10  # at most, unless the URL says otherwise
OLDEST_PGVECTOR = (0, 8)  # the first whose scans of an index go on until there are enough rows


def is_database_url(place: Any) -> bool:
    """Return whether a place of a gallery is the URL of a database, not the path of a file.

    Example:
        >>> is_database_url("postgresql://server/faces"), is_database_url("people.db")
        (True, False)
    """
    return isinstance(place, str) and place.startswith(URL_SCHEMES)


class DatabaseLocation:
    """A URL of a database taken apart.

    Args:
        url: `postgresql://USER@HOST:PORT/DATABASE`, maybe with `?schema=NAME` and parameters of
            libpq.

    Attributes:
        conninfo: What libpq gets.
        schema: The schema of the gallery.
        quoted_schema: The same, as statements take it.
        shown: The URL for messages, without the password and parameters.

    Raises:
        ValueError: If the schema is no plain name.

    Example:
        >>> DatabaseLocation("postgresql://ada:secret@server/faces?schema=staff").shown
        'postgresql://ada@server/faces?schema=staff'
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        self.schema = dict(query).get("schema", DEFAULT_SCHEMA)
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", self.schema):
            raise ValueError(
                "`schema` of the URL must be lower case letters, digits and _, at most 63. "
                f"Received: schema={self.schema!r}"
            )
        self.quoted_schema = f'"{self.schema}"'
        kept = urllib.parse.urlencode([pair for pair in query if pair[0] != "schema"])
        self.conninfo = urllib.parse.urlunsplit(parts._replace(query=kept))
        host = parts.netloc.rpartition("@")[2]
        user = f"{parts.username}@" if parts.username else ""
        schema = "" if self.schema == DEFAULT_SCHEMA else f"?schema={self.schema}"
        self.shown = f"postgresql://{user}{host}{parts.path}{schema}"

    def connect(self, adapt: bool = True) -> Any:
        """Return a connection in autocommit that finds the tables of the schema first.

        Args:
            adapt: Bool. True if NumPy rows are sent and received, which needs pgvector.

        Raises:
            ImportError: Without psycopg.
            ConnectionError: If the server cannot be reached.
            ValueError: If libpq does not know a parameter, or pgvector is too old.
            FileNotFoundError: With `adapt`, if the database has no pgvector.
        """
        try:
            import psycopg
        except ImportError as error:
            raise ImportError(
                "A gallery in PostgreSQL needs psycopg: pip install 'keras-sphereface[postgres]'. "
                f"Received: {self.shown}"
            ) from error
        try:
            settings: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(self.conninfo)
            settings.setdefault("connect_timeout", CONNECT_SECONDS)
            connection = psycopg.connect(**settings, autocommit=True)
        except psycopg.OperationalError as error:
            raise ConnectionError(
                "The gallery must be in a PostgreSQL server that can be reached. "
                f"Received: {self.shown}: {first_line(error)}"
            ) from error
        except psycopg.ProgrammingError as error:
            raise ValueError(
                "The URL must be postgresql://USER@HOST:PORT/DATABASE with parameters that libpq "
                f"knows. Received: {self.shown}: {first_line(error)}"
            ) from error
        try:
            connection.execute(
                "SELECT set_config('search_path', %s || ', ' || current_setting('search_path'), "
                "false)",
                (self.quoted_schema,),
            )
            if adapt:
                adapt_vectors(connection, self.shown)
        except BaseException:
            connection.close()
            raise
        return connection


def adapt_vectors(connection: Any, shown: str) -> None:
    """Let the connection send and receive NumPy rows as pgvector's binary `vector`.

    That is two 16 bit numbers, the size and a zero, and float32 numbers, all with the highest byte
    first.
    """
    from psycopg.adapt import Dumper, Loader
    from psycopg.pq import Format
    from psycopg.types import TypeInfo

    extension = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    row = connection.execute(extension).fetchone()
    info = TypeInfo.fetch(connection, "vector")
    if row is None or info is None:
        raise FileNotFoundError(
            "A gallery needs pgvector in the database, in a schema on its search path; `sphereface "
            f"gallery create` makes both. Received: {shown}"
        )
    if tuple(map(int, row[0].split(".")[:2])) < OLDEST_PGVECTOR:
        raise ValueError(
            "The database must have pgvector 0.8 or later; ALTER EXTENSION vector UPDATE, when it "
            f"is installed. Received: {shown} with {row[0]}"
        )

    class VectorDumper(Dumper):
        format = Format.BINARY
        oid = info.oid

        def dump(self, obj: np.ndarray) -> bytes:
            return struct.pack(">HH", len(obj), 0) + obj.astype(">f4").tobytes()

    class VectorLoader(Loader):
        format = Format.BINARY

        def load(self, data: Any) -> np.ndarray:
            return np.frombuffer(bytes(data), ">f4", offset=4).astype(np.float32)

    connection.adapters.register_dumper(np.ndarray, VectorDumper)
    connection.adapters.register_loader(info.oid, VectorLoader)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class.

    Example:
        >>> first_line(ValueError("no such table\\nLINE 1")), first_line(ValueError())
        ('no such table', 'ValueError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
