"""`Gallery`: enrolled identities with their templates, in one file or in PostgreSQL."""

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from keras_sphereface.config.suggestions import did_you_mean, with_hint
from keras_sphereface.data.keys import canonical_name
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.recognition import gallery_database
from keras_sphereface.recognition.database_search import DatabaseSearch
from keras_sphereface.recognition.gallery_export import write_templates
from keras_sphereface.recognition.gallery_file import GalleryFile, create_file
from keras_sphereface.recognition.gallery_store import GalleryStore
from keras_sphereface.recognition.index_search import IndexSearch, measure_recall
from keras_sphereface.recognition.memory_search import MemorySearch
from keras_sphereface.recognition.nearest_index import IndexReport
from keras_sphereface.recognition.postgres import is_database_url
from keras_sphereface.recognition.template_index import IdentityMatch
from keras_sphereface.utils.progress import log
from keras_sphereface.utils.validation import check_integer


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
    """Enrolled identities with their templates, in one SQLite file or in PostgreSQL.

    A file is searched exactly in memory. In PostgreSQL, where several machines may share a gallery,
    the server searches.

    Several processes may read and write at once; every search sees what others have confirmed. What
    `enroll` and `remove` have returned from is on the disk, whatever becomes of the process. An
    object serves one thread.

    A gallery holds names, templates (embeddings as they were given, float32), a digest of the
    source of each, its quality, and the fingerprint of the model. Images are kept only if they are
    given to `enroll`.

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

    def __init__(self, store: GalleryStore) -> None:
        self._store = store
        is_file = isinstance(store, GalleryFile)
        self._exact_search = MemorySearch(store) if is_file else DatabaseSearch(store)
        self._index_search: IndexSearch | None = None
        self._index_name: str | None = None
        self._is_advised = False
        self._dim: int | None = None
        if store.get_meta("to_erase"):  # a removal was cut short before its end
            self._erase()

    @classmethod
    def create(cls, path: str | os.PathLike, fingerprint: str, dim: int | None = None) -> "Gallery":
        """Write a gallery without identities, readable by the user alone, and open it.

        Args:
            path: Path of a file that does not exist; or the URL of a database, as `open` takes it,
                in whose schema there is no gallery.
            fingerprint: Str that tells the model of the embeddings from others, for example by
                `export.model_fingerprint`.
            dim: Int >= 1. D, the size of the embeddings; None: that of the first ones enrolled.

        Raises:
            FileExistsError: If there is something under this name.
            ValueError: If the fingerprint is empty, or `dim` below 1.
            PermissionError: If the user of the URL may not make a schema, or has no pgvector.

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
        metadata = dict(fingerprint=fingerprint, dim=dim, version=0, to_erase=0)
        if is_database_url(path):
            gallery_database.create_database(str(path), **metadata)
        else:
            create_file(Path(path), **metadata)
        return cls.open(path, fingerprint)

    @classmethod
    def open(cls, path: str | os.PathLike, fingerprint: str | None = None) -> "Gallery":
        """Open a gallery.

        Args:
            path: Path of its file; or `postgresql://USER@HOST:PORT/DATABASE`, which needs the extra
                `postgres`, and pgvector in the database. `?schema=NAME` tells several galleries of
                a database apart; without it the schema is "sphereface".
            fingerprint: Fingerprint of the model whose embeddings are enrolled or searched; None:
                not compared.

        Raises:
            FileNotFoundError: If there is no gallery.
            ValueError: If it is no gallery, or one of another model.
            ConnectionError: If the server of the URL cannot be reached.
            ImportError: For a URL, without psycopg.

        Example:
            >>> Gallery.create("ours.db", "sha256:5a", dim=2).close()
            >>> Gallery.open("ours.db", "sha256:77")
            Traceback (most recent call last):
            ValueError: The templates of ours.db come from another model: embeddings of two models
            cannot be compared... Received: sha256:77; the gallery has sha256:5a
        """
        is_url = is_database_url(path)
        store = gallery_database.GalleryDatabase(str(path)) if is_url else GalleryFile(path)
        stored = store.get_meta("fingerprint")
        if fingerprint is not None and fingerprint != stored:
            store.close()
            raise other_model_error(store.place, fingerprint, stored)
        return cls(store)

    @property
    def place(self) -> str:
        """The path of the file, or the URL without its password."""
        return self._store.place

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model of the templates."""
        return self._store.get_meta("fingerprint")

    @property
    def dim(self) -> int | None:
        """D, the size of the embeddings; None before the first is enrolled, unless it was given."""
        if self._dim is None:
            self._dim = self._store.get_meta("dim")
        return self._dim

    @property
    def num_templates(self) -> int:
        """The number of templates of all identities."""
        return self._store.num_templates()

    def __len__(self) -> int:
        """Return the number of identities."""
        return self._store.num_identities()

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or "\0" in name:  # PostgreSQL refuses texts with a zero byte
            return False
        return self._store.has_identity(canonical_name(name))

    def identities(self, after: str = "", limit: int | None = None) -> list[EnrolledIdentity]:
        """Return identities in the order of their names.

        Args:
            after: Name after which they begin; "": at the first.
            limit: Int >= 1. Number of identities at most; None: all.
        """
        if limit is not None:
            check_integer(limit, "limit", 1)
        # PostgreSQL refuses texts with a zero byte; no name has one.
        after = canonical_name(after.partition("\0")[0])
        return [EnrolledIdentity(*row) for row in self._store.summaries(after, limit)]

    def sources(self, name: str) -> set[str]:
        """Return the sources of the templates of an identity; empty if it is not enrolled."""
        return set(self._store.sources_of(canonical_name(name)))

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
                self._store.set_meta(dim=rows.shape[1])
            self._check_dim(rows, "templates")  # another process may have been the first
            identity = self._store.add_identity(name)
            if images is None:
                return self._store.add_templates(identity, sources, quality, rows)
            added = 0
            for i, source in enumerate(sources):  # only new templates have their images kept
                of_row = None if quality is None else quality[i : i + 1]
                if self._store.add_templates(identity, [source], of_row, rows[i : i + 1]):
                    self._store.add_image(identity, source, bytes(images[i]))
                    added += 1
            return added

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
            with self._store.transaction():
                yield
        except BaseException:
            # They may hold what is now rolled back.
            self._exact_search.forget()
            self._index_name = self._index_search = self._dim = None
            raise

    def remove(self, *names: str) -> None:
        """Remove identities with their templates and images, so that nothing of them remains.

        The file is written anew without them, and its log is emptied. That takes time by the size
        of the file: remove many in one call. In PostgreSQL the tables are written anew; the
        server's log of changes (WAL), its replicas and backups hold what they held until they are
        recycled.

        Args:
            *names: Names of identities.

        Raises:
            ValueError: If a name is not enrolled; then none is removed.
            RuntimeError: Within `transaction`.
            BlockingIOError: If another process has been writing for half a minute, or reads on: the
                identities are removed then, but their bytes are still there until the gallery is
                next opened, or something is removed.
        """
        if self._store.is_in_transaction:
            raise RuntimeError(
                "`remove` must be called outside of `transaction`: it writes the gallery anew."
            )
        with self._change():
            for name in names:
                if not self._store.delete_identity(canonical_name(name)):
                    raise self._not_enrolled(name)
            # That of this removal: another one may come while this one erases.
            self._store.set_meta(to_erase=self._store.get_meta("version") + 1)
        if not self._erase():
            raise BlockingIOError(
                f"{', '.join(names)} can be found no more, but {self._store.removal_remains}, for "
                f"example by `sphereface gallery list`. Received: {self._store.place}"
            )

    def _not_enrolled(self, name: str) -> ValueError:
        message = f"`name` must be an identity of the gallery. Received: {name!r}"
        return ValueError(with_hint(message, did_you_mean(name, self._store.names())))

    def _erase(self) -> bool:
        """Let nothing of what was removed remain; return whether it could be done now."""
        removal = self._store.get_meta("to_erase")
        if not self._store.erase_removed():
            return False
        with self._store.transaction():
            if self._store.get_meta("to_erase") == removal:
                self._store.set_meta(to_erase=0)
        return True

    def search(
        self,
        embeddings: np.ndarray | Sequence[Sequence[float]],
        top: int = 5,
        *,
        fusion: str = "best",
        exact: bool = False,
    ) -> list[list[IdentityMatch]]:
        """Return the most similar identities of each probe, the most similar first.

        Every template is compared, unless `build_index` has built an index: that proposes
        identities, which are then compared exactly, and may miss one. Without an index the
        templates of a file are kept in memory, 4 D bytes each; what other processes changed is read
        first.

        Args:
            embeddings: (N, D) embeddings of probes, of any length but zero.
            top: Int >= 1. Number of identities for each probe, or all if there are fewer.
            fusion: The score of an identity with several templates: "best", that of the most
                similar one, or "mean", that of their mean, in which they count with their lengths.
            exact: True: compare every template although there is an index.

        Returns:
            N lists of `IdentityMatch`. Of equal scores the identity enrolled first comes first.

        Raises:
            ValueError: If an argument does not fit, or an embedding is zero or not finite.
        """
        top = check_integer(top, "top", 1)
        rows = self._checked(embeddings, "embeddings", min_rows=0)
        with self._store.snapshot():
            search = self._exact_search if exact else self._fastest_search()
            found = list(search.search(rows, top, fusion))
            numbers = {int(number) for identities, _ in found for number in identities}
            names = self._store.names_of(sorted(numbers))
        if not exact:
            self._advise_index(search.num_compared)
        return [
            [
                IdentityMatch(names[int(number)], float(score))
                for number, score in zip(identities, scores, strict=True)
            ]
            for identities, scores in found
        ]

    def _advise_index(self, num_compared: int) -> None:
        """Log once that an index, or a new one, would make searches faster."""
        if num_compared > self._store.index_above and not self._is_advised:
            self._is_advised = True
            log(
                f"{num_compared:,} templates are compared with each probe; an index is faster: "
                f"sphereface gallery index --gallery {self.place}"
            )

    def _fastest_search(self) -> Any:
        """The search by the index that is now in the gallery, or else the exact one."""
        name = self._store.get_meta("index")
        if name != self._index_name:
            index = self._store.open_index() if name else None
            self._index_search = None if index is None else IndexSearch(self._store, index)
            self._index_name = name
        return self._exact_search if self._index_search is None else self._index_search

    def build_index(self, num_probes: int = 200) -> IndexReport:
        """Build an index of all templates, by which searches are faster, and measure its recall.

        Of a file: an HNSW graph by FAISS, in a file beside the gallery; it needs the extra `faiss`.
        Templates that are enrolled later are compared one by one, until it is built anew. In
        PostgreSQL: the HNSW index of pgvector, which follows every change.

        Args:
            num_probes: Int >= 1. Number of templates for the recall.

        Returns:
            What was built, its time and its recall.

        Raises:
            ValueError: If the gallery has so few templates that an exact search is about as fast:
                up to 100,000 in a file, 10,000 in PostgreSQL.
            ImportError: For a file, without FAISS.
        """
        num_probes = check_integer(num_probes, "num_probes", 1)
        num_templates, least = self.num_templates, self._store.index_above
        if num_templates <= least:
            raise ValueError(
                f"An index must have more than {least:,} templates: comparing all of fewer is "
                f"about as fast, and finds all. Received: {self.place} with {num_templates:,}"
            )
        start = time.perf_counter()
        index = self._store.build_index()
        seconds = time.perf_counter() - start
        with self._store.snapshot():
            recall, num_probes = measure_recall(self._store, index, num_probes)
        kind = self._store.index_kind
        return IndexReport(kind, num_templates, seconds, recall, num_probes)

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
        with self._store.snapshot():
            count = write_templates(self._store.templates(), self.fingerprint, Path(path))
        if not count:
            raise ValueError(
                f"The gallery must have templates. Received: {self._store.place}, empty"
            )
        return count

    def close(self) -> None:
        """Close the file or the connection; nothing is lost without it."""
        self._store.close()

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
        try:
            with self._store.transaction():
                yield
                self._store.set_meta(version=self._store.get_meta("version") + 1)
        except BaseException:
            self._dim = None
            raise

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
        stored = rows.astype(np.float32)
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
