"""The templates of a gallery as one file: .npz, or .parquet for other stores of vectors."""

import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.recognition.gallery_store import StoredTemplate
from keras_sphereface.recognition.parquet_file import check_parquet_installed, write_parquet
from keras_sphereface.utils.atomic import atomic_file

SUFFIXES = (".npz", ".parquet")


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


def write_templates(templates: Sequence[StoredTemplate], fingerprint: str, path: Path) -> None:
    """Write templates as `Gallery.export` describes; the file appears whole or not at all."""
    check_export_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        if path.suffix == ".npz":
            _write_npz(templates, fingerprint, partial)
        else:
            _write_parquet(templates, fingerprint, partial)


def _write_npz(templates: Sequence[StoredTemplate], fingerprint: str, path: Path) -> None:
    qualities = [np.nan if t.quality is None else t.quality for t in templates]
    with open(path, "wb") as file:
        np.savez(
            file,
            keys=np.array(_keys(templates)),
            embeddings=np.stack([t.embedding for t in templates]),
            identities=np.array([t.identity for t in templates]),
            sources=np.array([t.source for t in templates]),
            quality=np.array(qualities, np.float64),
            fingerprint=np.array(fingerprint),
        )


def _keys(templates: Sequence[StoredTemplate]) -> list[str]:
    """`ada/1`, `ada/2`, ...: different for all templates."""
    numbers: collections.Counter[str] = collections.Counter()
    keys = []
    for template in templates:
        numbers[template.identity] += 1
        keys.append(f"{template.identity}/{numbers[template.identity]}")
    return keys


def _write_parquet(templates: Sequence[StoredTemplate], fingerprint: str, path: Path) -> None:
    import pyarrow

    write_parquet(
        path,
        _keys(templates),
        [t.embedding for t in templates],
        fingerprint,
        identity=[t.identity for t in templates],
        source=[t.source for t in templates],
        quality=pyarrow.array([t.quality for t in templates], pyarrow.float64()),
    )
