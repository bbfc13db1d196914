"""`Gallery`: enrolled identities in one file, searched exactly."""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from keras_sphereface.config.suggestions import did_you_mean, with_hint
from keras_sphereface.data.keys import canonical_name
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.recognition.gallery_export import StoredTemplate, write_templates
from keras_sphereface.recognition.gallery_file import GalleryFile, create_file
from keras_sphereface.recognition.template_index import IdentityMatch, TemplateIndex
from keras_sphereface.utils.validation import check_integer

_STORED = np.dtype("<f4")  # of a template in the file
_READ_AT_ONCE = 4096  # templates


@dataclasses.dataclass(frozen=True)
class EnrolledIdentity:
    """An identity of a gallery.

    Attributes:
        name: Its name.
        num_templates: Number of its templates.
        quality: Mean quality of its templates; None if none of them has one.

    Example:
        >>> EnrolledIdentity("ada", num_templates=2, quality=None).num_templates
        2
    """

    name: str
    num_templates: int
    quality: float | None


class Gallery:
    """Enrolled identities with their templates in one SQLite file, searched exactly in memory.

    Several processes may read and write at once; every search sees what others have confirmed. What
    `enroll` and `remove` have returned from is on the disk, whatever becomes of the process. An
    object serves one thread.

    The file holds names, templates (embeddings as they were given, float32), a digest of the source
    of each, its quality, and the fingerprint of the model. Images are kept only if they are given
    to `enroll`.

    Make one by `Gallery.create` or `Gallery.open`.

    Example:
        >>> gallery = Gallery.create("people.db", fingerprint="sha256:5a", dim=2)
        >>> gallery.enroll("ada", [[3.0, 0.0], [4.0, 0.1]])
        2
        >>> gallery.enroll("bob", [[0.0, 2.0]])
        1
        >>> gallery.search([[1.0, 0.0]], top=1)
        [[IdentityMatch(name='ada', score=1.0)]]
        >>> gallery.remove("ada")
        >>> [identity.name for identity in gallery.identities()]
        ['bob']
    """

    def __init__(self, file: GalleryFile) -> None:
        self._file = file
        self._index: TemplateIndex | None = None
        self._names: dict[int, str] = {}
        self._version = -1
        if file.get_meta("to_erase"):  # a removal was cut short before its end
            self._erase()

    @classmethod
    def create(cls, path: str | os.PathLike, fingerprint: str, dim: int | None = None) -> "Gallery":
        """Write a gallery without identities, readable by the user alone, and open it.

        Args:
            path: Path of a file that does not exist.
            fingerprint: Str that tells the model of the embeddings from others, for example by
                `export.model_fingerprint`.
            dim: Int >= 1. D, the size of the embeddings; None: that of the first ones enrolled.

        Raises:
            FileExistsError: If there is something under this name.
            ValueError: If the fingerprint is empty, or `dim` below 1.

        Example:
            >>> len(Gallery.create("new.db", "sha256:5a", dim=512))
            0
        """
        if not fingerprint:
            raise ValueError(
                "`fingerprint` must name the model of the embeddings; "
                "`export.model_fingerprint(path)` makes one. "
                f"Received: fingerprint={fingerprint!r}"
            )
        dim = None if dim is None else check_integer(dim, "dim", 1)
        create_file(Path(path), fingerprint=fingerprint, dim=dim, version=0, to_erase=0)
        return cls.open(path, fingerprint)

    @classmethod
    def open(cls, path: str | os.PathLike, fingerprint: str | None = None) -> "Gallery":
        """Open a gallery.

        Args:
            path: Path of its file.
            fingerprint: Fingerprint of the model whose embeddings are enrolled or searched; None:
                not compared.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If it is no gallery, or one of another model.

        Example:
            >>> Gallery.create("ours.db", "sha256:5a", dim=2).close()
            >>> Gallery.open("ours.db", "sha256:77")
            Traceback (most recent call last):
            ValueError: The templates of ours.db come from another model: embeddings of two models
            cannot be compared... Received: sha256:77; the gallery has sha256:5a
        """
        file = GalleryFile(path)
        stored = file.get_meta("fingerprint")
        if fingerprint is not None and fingerprint != stored:
            file.close()
            raise other_model_error(path, fingerprint, stored)
        return cls(file)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model of the templates."""
        return self._file.get_meta("fingerprint")

    @property
    def dim(self) -> int | None:
        """D, the size of the embeddings; None before the first is enrolled, unless it was given."""
        return self._file.get_meta("dim")

    @property
    def num_templates(self) -> int:
        """The number of templates of all identities."""
        return self._file.value("SELECT COUNT(*) FROM templates")

    def __len__(self) -> int:
        """Return the number of identities."""
        return self._file.value("SELECT COUNT(*) FROM identities")

    def __contains__(self, name: object) -> bool:
        query = "SELECT COUNT(*) FROM identities WHERE name = ?"
        return isinstance(name, str) and bool(self._file.value(query, canonical_name(name)))

    def identities(self) -> list[EnrolledIdentity]:
        """Return all identities in the order of their names."""
        rows = self._file.run(
            "SELECT name, COUNT(*), AVG(quality) FROM templates JOIN identities "
            "ON identities.id = templates.identity GROUP BY identities.id ORDER BY name"
        )
        return [EnrolledIdentity(*row) for row in rows]

    def enroll(
        self,
        name: str,
        templates: np.ndarray | Sequence[Sequence[float]],
        *,
        sources: Sequence[str] | None = None,
        quality: Sequence[float] | None = None,
        images: Sequence[bytes] | None = None,
    ) -> int:
        """Add templates to an identity, which is new or has some already; all or none are added.

        Args:
            name: Name of the identity.
            templates: (N, D) embeddings, N >= 1, of any length but zero.
            sources: N strings that tell the images apart, for example digests. A template whose
                source is enrolled under this name is left out, so that the same call may be
                repeated. None: digests of `images`, or else of the templates.
            quality: N numbers, higher for better images; None: not known.
            images: N encoded images to keep in the file; None: none are kept.

        Returns:
            The number of templates that were added.

        Raises:
            ValueError: If a name is empty or has control characters, or arrays do not fit.
            BlockingIOError: If another process has been writing for half a minute.
        """
        name = _checked_name(name)
        rows = self._checked(templates, "templates")
        _check_counts(len(rows), sources=sources, quality=quality, images=images)
        if sources is None:
            contents = [row.tobytes() for row in rows] if images is None else images
            sources = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
        with self._change():
            if self.dim is None:
                self._file.set_meta(dim=rows.shape[1])
            self._check_dim(rows, "templates")  # another process may have been the first
            self._file.run("INSERT OR IGNORE INTO identities (name) VALUES (?)", name)
            query = "SELECT id FROM identities WHERE name = ?"
            identity = self._file.value(query, name)
            added = 0
            for i, (row, source) in enumerate(zip(rows, sources, strict=True)):
                of_row = None if quality is None else float(quality[i])
                content = None if images is None else images[i]
                added += self._add(identity, source, of_row, row, content)
            return added

    def _add(
        self,
        identity: int,
        source: str,
        quality: float | None,
        row: np.ndarray,
        content: bytes | None,
    ) -> bool:
        cursor = self._file.run(
            "INSERT OR IGNORE INTO templates (identity, source, quality, embedding) "
            "VALUES (?, ?, ?, ?)",
            identity,
            source,
            quality,
            row.tobytes(),
        )
        if cursor.rowcount and content is not None:
            self._file.run("INSERT INTO images VALUES (?, ?)", cursor.lastrowid, bytes(content))
        return bool(cursor.rowcount)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Confirm all that is enrolled in the block at its end, or nothing of it.

        One transaction for many identities is faster than one for each.

        Example:
            >>> gallery = Gallery.create("many.db", "sha256:5a")
            >>> with gallery.transaction():
            ...     for name, row in zip(["ada", "bob"], np.eye(2)):
            ...         added = gallery.enroll(name, [row])
            >>> len(gallery)
            2
        """
        try:
            with self._file.transaction():
                yield
        except BaseException:
            # They may hold what is now rolled back.
            self._index, self._names, self._version = None, {}, -1
            raise

    def remove(self, *names: str) -> None:
        """Remove identities with their templates and images, so that nothing of them remains.

        The file is written anew without them, and its log is emptied. That takes time by the size
        of the file: remove many in one call.

        Args:
            *names: Names of identities.

        Raises:
            ValueError: If a name is not enrolled; then none is removed.
            RuntimeError: Within `transaction`.
            BlockingIOError: If another process has been writing for half a minute, or reads on: the
                identities are removed then, but their bytes are still in the file until the
                gallery is next opened, or something is removed.
        """
        if self._file.is_in_transaction:
            raise RuntimeError(
                "`remove` must be called outside of `transaction`: it writes the file anew."
            )
        with self._change():
            for name in names:
                query = "DELETE FROM identities WHERE name = ?"
                if not self._file.run(query, canonical_name(name)).rowcount:
                    raise self._not_enrolled(name)
            self._file.set_meta(to_erase=1)
        if not self._erase():
            raise BlockingIOError(
                f"{', '.join(names)} can be found no more, but the bytes are still in the file: "
                "another process is using it. They go when the gallery is next opened alone, for "
                f"example by `sphereface gallery list`. Received: {self._file.path}"
            )

    def _not_enrolled(self, name: str) -> ValueError:
        enrolled = [row[0] for row in self._file.run("SELECT name FROM identities")]
        message = f"`name` must be an identity of the gallery. Received: {name!r}"
        return ValueError(with_hint(message, did_you_mean(name, enrolled)))

    def _erase(self) -> bool:
        """Let nothing of what was removed remain; return whether it could be done now."""
        if not self._file.erase_removed():
            return False
        with self._file.transaction():
            self._file.set_meta(to_erase=0)
        return True

    def search(
        self,
        embeddings: np.ndarray | Sequence[Sequence[float]],
        top: int = 5,
        *,
        fusion: str = "best",
    ) -> list[list[IdentityMatch]]:
        """Return the most similar identities of each probe, the most similar first.

        Every template is compared: the result is exact. The templates are kept in memory, 4 D bytes
        each; what other processes changed is read first.

        Args:
            embeddings: (N, D) embeddings of probes, of any length but zero.
            top: Int >= 1. Number of identities for each probe, or all if there are fewer.
            fusion: The score of an identity with several templates: "best", that of the most
                similar one, or "mean", that of their mean, in which they count with their lengths.

        Returns:
            N lists of `IdentityMatch`. Of equal scores the identity enrolled first comes first.

        Raises:
            ValueError: If an argument does not fit, or an embedding is zero or not finite.
        """
        top = check_integer(top, "top", 1)
        rows = self._checked(embeddings, "embeddings", min_rows=0)
        index = self._refreshed(rows.shape[1])
        if index is None or not len(index):
            return [[] for _ in rows]
        return [
            [
                IdentityMatch(self._names[int(identity)], float(score))
                for identity, score in zip(identities, scores, strict=True)
            ]
            for identities, scores in index.search(rows, top, fusion)
        ]

    def _refreshed(self, dim: int) -> TemplateIndex | None:
        """The index with what is in the file now; only what has changed is read."""
        if self._file.get_meta("version") == self._version:
            return self._index
        with self._file.snapshot():
            version = self._file.get_meta("version")
            index = self._index or TemplateIndex(dim)
            index.reserve(self._file.value("SELECT COUNT(*) FROM templates"))
            last = int(index.ids[-1]) if len(index) else 0
            query = "SELECT COUNT(*) FROM templates WHERE id <= ?"
            if self._file.value(query, last) != len(index):
                left = self._file.run("SELECT id FROM templates WHERE id <= ?", last)
                index.keep(np.array([row[0] for row in left], np.int64))
                self._names = {}
            added = self._file.run(
                "SELECT id, identity, embedding FROM templates WHERE id > ? ORDER BY id", last
            )
            while rows := added.fetchmany(_READ_AT_ONCE):
                ids, identities, contents = zip(*rows, strict=True)
                embeddings = np.frombuffer(b"".join(contents), _STORED).reshape(len(rows), -1)
                index.append(np.array(ids), np.array(identities), embeddings)
            newest = max(self._names, default=0)
            query = "SELECT id, name FROM identities WHERE id > ?"
            self._names.update(self._file.run(query, newest))
        self._index, self._version = index, version
        return index

    def export(self, path: str | os.PathLike) -> int:
        """Write all templates as one file, and return their number.

        Args:
            path: Path ending in .npz: arrays `keys` (T,), `embeddings` (T, D), `identities` (T,),
                `sources` (T,), `quality` (T,), nan where unknown, and `fingerprint`; `sphereface
                gallery enroll` and `evaluate` read it. Or ending in .parquet: columns of the same
                names without the s; needs the extra `parquet`.

        Raises:
            ValueError: If the path ends otherwise, or the gallery is empty.
            ImportError: For parquet, without pyarrow.

        Example:
            >>> gallery = Gallery.create("small.db", "sha256:5a")
            >>> gallery.enroll("ada", np.eye(2)), gallery.export("small.npz")
            (2, 2)
            >>> np.load("small.npz")["keys"].tolist()
            ['ada/1', 'ada/2']
        """
        with self._file.snapshot():
            rows = self._file.run(
                "SELECT name, source, quality, embedding FROM templates JOIN identities "
                "ON identities.id = templates.identity ORDER BY name, templates.id"
            ).fetchall()
        templates = [
            StoredTemplate(name, source, quality, np.frombuffer(content, _STORED))
            for name, source, quality, content in rows
        ]
        if not templates:
            raise ValueError(f"The gallery must have templates. Received: {self._file.path}, empty")
        write_templates(templates, self.fingerprint, Path(path))
        return len(templates)

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        self._file.close()

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """A transaction after which every process reads the changes."""
        with self._file.transaction():
            yield
            self._file.set_meta(version=self._file.get_meta("version") + 1)

    def _checked(self, embeddings: Any, name: str, min_rows: int = 1) -> np.ndarray:
        """The embeddings as they are stored, (N, D); refuse what has no direction."""
        rows = np.asarray(embeddings)
        is_matrix = rows.ndim == 2 and rows.shape[1] > 0 and rows.dtype.kind in "fiu"
        if not is_matrix or len(rows) < min_rows:
            raise ValueError(
                f"`{name}` must be numbers (N, D), N >= {min_rows}. "
                f"Received: {rows.dtype} {rows.shape}"
            )
        unit_rows(rows, name)
        if self.dim is not None:
            self._check_dim(rows, name)
        stored = rows.astype(_STORED)
        unit_rows(stored, name)  # float64 may be beyond float32
        return stored

    def _check_dim(self, rows: np.ndarray, name: str) -> None:
        if rows.shape[1] != self.dim:
            raise ValueError(
                f"`{name}` must be embeddings of {self.dim} numbers, as those of the gallery. An "
                "embedding joined with that of the mirror image has twice as many. "
                f"Received: {rows.shape}"
            )


def other_model_error(gallery: str | os.PathLike, fingerprint: str, stored: str) -> ValueError:
    """Return the error that a gallery's templates are of another model than that in use."""
    return ValueError(
        f"The templates of {gallery} come from another model: embeddings of two models cannot "
        "be compared. Use the model of the gallery, or enroll the images anew into a new "
        f"gallery. Received: {fingerprint}; the gallery has {stored}"
    )


def _checked_name(name: str) -> str:
    """The name in the Unicode form that is compared."""
    is_text = isinstance(name, str) and name.strip() == name and name.isprintable()
    if not (is_text and name):
        raise ValueError(
            "`name` must be a text of printable characters without spaces around it. "
            f"Received: name={name!r}"
        )
    return canonical_name(name)


def _check_counts(count: int, **values: Sequence | None) -> None:
    for name, entries in values.items():
        if entries is not None and len(entries) != count:
            raise ValueError(
                f"`{name}` must have an entry for each of {count} templates. "
                f"Received: {len(entries)}"
            )
