"""The templates of a gallery as one file: .npz, or .parquet for other stores of vectors."""

import collections
import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.recognition.gallery_store import StoredTemplate
from keras_sphereface.recognition.parquet_file import check_parquet_installed, write_parquet_blocks
from keras_sphereface.utils.atomic import atomic_file

SUFFIXES = (".npz", ".parquet")
ROWS_AT_ONCE = 4096  # of parquet


def check_export_path(path: Path) -> None:
    """Refuse a file of another kind.

    Raises:
        ValueError: If its name ends otherwise.
        ImportError: For parquet, without pyarrow.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"`out` must end in {' or '.join(SUFFIXES)}. Received: {path}")
    if path.suffix == ".parquet":
        check_parquet_installed(path)


def write_templates(templates: Iterable[StoredTemplate], fingerprint: str, path: Path) -> int:
    """Write templates as `Gallery.export` describes, and return their number.

    The file appears whole or not at all; without any template there is none.
    """
    check_export_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_npz if path.suffix == ".npz" else _write_parquet
    with contextlib.suppress(_EmptyError), atomic_file(path) as partial:
        return write(templates, fingerprint, partial)
    return 0


class _EmptyError(Exception):
    """There are no templates."""


def _blocks(templates: Iterable[StoredTemplate], count: int) -> Iterator[list[StoredTemplate]]:
    remaining = iter(templates)
    while block := list(itertools.islice(remaining, count)):
        yield block


def _write_npz(templates: Iterable[StoredTemplate], fingerprint: str, path: Path) -> int:
    templates = list(templates)
    if not templates:
        raise _EmptyError
    qualities = [np.nan if t.quality is None else t.quality for t in templates]
    with open(path, "wb") as file:
        np.savez(
            file,
            keys=np.array(_keys(templates, collections.Counter())),
            embeddings=np.stack([t.embedding for t in templates]),
            identities=np.array([t.identity for t in templates]),
            sources=np.array([t.source for t in templates]),
            quality=np.array(qualities, np.float64),
            fingerprint=np.array(fingerprint),
        )
    return len(templates)


def _keys(templates: Sequence[StoredTemplate], numbers: collections.Counter[str]) -> list[str]:
    """`ada/1`, `ada/2`, ...: different for all templates; `numbers` are those given before."""
    keys = []
    for template in templates:
        numbers[template.identity] += 1
        keys.append(f"{template.identity}/{numbers[template.identity]}")
    return keys


def _write_parquet(templates: Iterable[StoredTemplate], fingerprint: str, path: Path) -> int:
    """Write a block of rows at a time: a gallery may be larger than the memory."""
    import pyarrow

    numbers: collections.Counter[str] = collections.Counter()
    blocks = (
        (
            _keys(block, numbers),
            [t.embedding for t in block],
            {
                "identity": [t.identity for t in block],
                "source": [t.source for t in block],
                "quality": pyarrow.array([t.quality for t in block], pyarrow.float64()),
            },
        )
        for block in _blocks(templates, ROWS_AT_ONCE)
    )
    count = write_parquet_blocks(path, blocks, fingerprint)
    if not count:
        raise _EmptyError
    return count
