"""What the stores of a gallery do alike: the statements about identities and their templates.

`gallery_file` is the store in an SQLite file, `gallery_database` the one in PostgreSQL. Both
understand the statements below; what each does in its own way is abstract here.
"""

import abc
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from keras_sphereface.recognition.nearest_index import NearestIndex

SCHEMA_VERSION = 1  # of the tables, in a file and in a database
NEWEST = (1 << 63) - 1  # no template has a higher number
AT_ONCE = 500  # parameters of a statement
_NUMBERED = "id, identity, embedding FROM templates"
SET_META = (
    "INSERT INTO metadata (key, value) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


class StoredTemplate(NamedTuple):
    """A template as a store holds it."""

    identity: str
    source: str
    quality: float | None
    embedding: np.ndarray


class GalleryStore(abc.ABC):
    """The open tables of a gallery, without what a user of it must not do wrong.

    Identities and templates have rising numbers that are never given twice. Writers take turns, so
    that who has read all templates up to a number misses none.

    Attributes:
        place: Where the gallery is, for messages.
        removal_remains: What is true of removed bytes while they could not be erased.
        index_kind: What its index is.
        index_above: Number of templates up to which an exact search is about as fast.
    """

    place: str
    removal_remains: str
    index_kind: str
    index_above: int

    @abc.abstractmethod
    def run(self, statement: str, *values: Any) -> Any:
        """Execute a statement with these values for its question marks; return its cursor."""

    @abc.abstractmethod
    def run_many(self, statement: str, rows: Any) -> None:
        """Execute a statement for each row of values."""

    @abc.abstractmethod
    def value(self, query: str, *values: Any) -> Any:
        """Return the first value of the first row; None if there is no row."""

    @abc.abstractmethod
    def blocks(self, query: str, *values: Any) -> Iterator[list[tuple]]:
        """Yield the rows of a query some thousands at a time; within `snapshot` or `transaction`.

        The column `embedding` is as the store holds it; `embeddings_of` makes arrays of it.
        """

    @abc.abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Commit what the block writes, all or none; within another transaction, with that."""

    @abc.abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Let all that the block reads be of one moment."""

    @property
    @abc.abstractmethod
    def is_in_transaction(self) -> bool:
        """True within `transaction` or `snapshot`."""

    @abc.abstractmethod
    def erase_removed(self) -> bool:
        """Write the tables anew without what was removed; return whether it could be done now."""

    @abc.abstractmethod
    def build_index(self) -> NearestIndex:
        """Build an index of all templates in place of an earlier one, and return it."""

    @abc.abstractmethod
    def open_index(self) -> NearestIndex | None:
        """Return the index that the metadata name; None if it cannot be used here."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection; what was confirmed is kept."""

    @abc.abstractmethod
    def embeddings_of(self, values: Sequence[Any]) -> np.ndarray:
        """Return values of the column `embedding` as float32 (N, D)."""

    @abc.abstractmethod
    def _embedding_value(self, row: np.ndarray) -> Any:
        """The value of the column `embedding` for a template, float32 (D,)."""

    def _check_schema_version(self, version: Any) -> None:
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"The gallery must have schema version {SCHEMA_VERSION}; another version of this "
                f"package wrote it. Received: {self.place} with version {version}"
            )

    def get_meta(self, key: str) -> Any:
        """Return a value of the metadata; None if it is not set."""
        return self.value("SELECT value FROM metadata WHERE key = ?", key)

    def set_meta(self, **values: Any) -> None:
        """Set values of the metadata."""
        self.run_many(SET_META, values.items())

    def num_identities(self) -> int:
        """Return the number of identities."""
        return self.value("SELECT COUNT(*) FROM identities")

    def num_templates(self, after: int = 0, up_to: int = NEWEST) -> int:
        """Return the number of templates with numbers above `after`, and up to `up_to`."""
        query = "SELECT COUNT(*) FROM templates WHERE id > ? AND id <= ?"
        return self.value(query, after, up_to)

    def template_numbers(self, after: int = 0, up_to: int = NEWEST) -> np.ndarray:
        """Return the rising numbers of these templates, (N,)."""
        query = "SELECT id FROM templates WHERE id > ? AND id <= ? ORDER BY id"
        return np.array([row[0] for row in self.run(query, after, up_to)], np.int64)

    def has_identity(self, name: str) -> bool:
        """Return whether a name is enrolled."""
        return bool(self.value("SELECT COUNT(*) FROM identities WHERE name = ?", name))

    def names(self) -> list[str]:
        """Return all names."""
        return [row[0] for row in self.run("SELECT name FROM identities")]

    def names_of(self, identities: Sequence[int]) -> dict[int, str]:
        """Return {number of an identity: its name} for these numbers."""
        names: dict[int, str] = {}
        for some in _some_at_a_time(identities):
            query = f"SELECT id, name FROM identities WHERE id IN ({_marks(some)})"
            names.update(self.run(query, *some))
        return names

    def summaries(
        self, after: str = "", limit: int | None = None
    ) -> list[tuple[str, int, float | None]]:
        """Return name, number of templates and mean quality of identities, by name.

        Those whose name comes after `after`, at most `limit`.
        """
        return self.run(
            "SELECT name, COUNT(*), AVG(quality) FROM "
            "(SELECT id, name FROM identities WHERE name > ? ORDER BY name LIMIT ?) AS listed "
            "JOIN templates ON listed.id = templates.identity "
            "GROUP BY listed.id, name ORDER BY name",
            after,
            NEWEST if limit is None else limit,
        ).fetchall()

    def add_identity(self, name: str) -> int:
        """Return the number of an identity, which is new or there already."""
        self.run("INSERT INTO identities (name) VALUES (?) ON CONFLICT DO NOTHING", name)
        return self.value("SELECT id FROM identities WHERE name = ?", name)

    def add_templates(
        self,
        identity: int,
        sources: Sequence[str],
        quality: Sequence[float] | None,
        rows: np.ndarray,
    ) -> int:
        """Add templates but those whose source the identity has already; return their number."""
        added = 0
        for some in _some_at_a_time(range(len(rows)), AT_ONCE // 4):
            values: list[Any] = []
            for i in some:
                known = None if quality is None or math.isnan(quality[i]) else float(quality[i])
                values += [identity, sources[i], known, self._embedding_value(rows[i])]
            added += self.run(
                "INSERT INTO templates (identity, source, quality, embedding) VALUES "
                f"{', '.join(['(?, ?, ?, ?)'] * len(some))} ON CONFLICT DO NOTHING",
                *values,
            ).rowcount
        return added

    def add_image(self, identity: int, source: str, image: bytes) -> None:
        """Keep the image of a template."""
        self.run(
            "INSERT INTO images (template, content) "
            "SELECT id, ? FROM templates WHERE identity = ? AND source = ?",
            image,
            identity,
            source,
        )

    def sources_of(self, name: str) -> list[str]:
        """Return the sources of the templates of an identity."""
        rows = self.run(
            "SELECT source FROM templates JOIN identities ON identities.id = templates.identity "
            "WHERE name = ?",
            name,
        )
        return [row[0] for row in rows]

    def delete_identity(self, name: str) -> bool:
        """Delete an identity with its templates and images; return whether it was there."""
        return bool(self.run("DELETE FROM identities WHERE name = ?", name).rowcount)

    def templates(self) -> Iterator[StoredTemplate]:
        """Yield all templates, by name and number; within `snapshot`."""
        query = (
            "SELECT name, source, quality, embedding FROM templates JOIN identities "
            "ON identities.id = templates.identity ORDER BY name, templates.id"
        )
        for rows in self.blocks(query):
            embeddings = self.embeddings_of([row[3] for row in rows])
            for (name, source, quality, _), embedding in zip(rows, embeddings, strict=True):
                yield StoredTemplate(name, source, quality, embedding)

    def templates_after(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield numbers (N,), identities (N,) and embeddings (N, D) of those above `number`.

        In the order of the numbers, some at a time; within `snapshot`.
        """
        query = f"SELECT {_NUMBERED} WHERE id > ? ORDER BY id"
        yield from self._numbered(self.blocks(query, number))

    def templates_of(
        self, identities: Sequence[int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield the same of all templates of these identities."""
        for some in _some_at_a_time(identities):
            query = f"SELECT {_NUMBERED} WHERE identity IN ({_marks(some)}) ORDER BY id"
            yield from self._numbered([self.run(query, *some).fetchall()])

    def templates_by_number(
        self, numbers: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the same of the templates with these numbers, in the order of the numbers."""
        blocks: list[tuple[np.ndarray, ...]] = []
        for some in _some_at_a_time(sorted(numbers)):
            query = f"SELECT {_NUMBERED} WHERE id IN ({_marks(some)}) ORDER BY id"
            blocks += self._numbered([self.run(query, *some).fetchall()])
        numbers_, identities, embeddings = zip(*blocks, strict=True)
        return np.concatenate(numbers_), np.concatenate(identities), np.concatenate(embeddings)

    def identities_of(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return {number of a template: that of its identity}, without templates that are gone."""
        identities: dict[int, int] = {}
        for some in _some_at_a_time(numbers):
            query = f"SELECT id, identity FROM templates WHERE id IN ({_marks(some)})"
            identities.update(self.run(query, *some))
        return identities

    def _numbered(
        self, blocks: Iterable[list[tuple]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for rows in filter(None, blocks):
            numbers, identities, embeddings = zip(*rows, strict=True)
            yield (
                np.array(numbers, np.int64),
                np.array(identities, np.int64),
                self.embeddings_of(embeddings),
            )


def _some_at_a_time(values: Sequence[int], count: int = AT_ONCE) -> Iterator[Sequence[int]]:
    return (values[start : start + count] for start in range(0, len(values), count))


def _marks(values: Sequence[int]) -> str:
    return ", ".join("?" * len(values))
