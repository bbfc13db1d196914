"""What users hold: folders of pictures by identity, landmark files, lists of names."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_sphereface.images import IMAGE_SUFFIXES


class Picture(NamedTuple):
    """One picture of a class folder tree; `key` is its path below the root, with slashes."""

    key: str
    identity: str


def class_folders(root: str | os.PathLike) -> Iterator[Picture]:
    """The pictures of ROOT/IDENTITY/IMAGE, sorted by identity and file name.

    Files that are not pictures by their suffix, hidden files and folders, and empty folders
    are passed over.

    Raises:
        FileNotFoundError: if `root` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"The source must be a folder of class folders. Received: {root}")
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if folder.name.startswith(".") or folder.name == "__MACOSX":
            continue
        for file in sorted(folder.iterdir()):
            hidden = file.name.startswith(".")
            if file.suffix.lower() in IMAGE_SUFFIXES and not hidden and file.is_file():
                yield Picture(f"{folder.name}/{file.name}", folder.name)


def read_landmarks(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """A landmark file -> {key: (5, 2) points}.

    A line is `relative/path x1 y1 x2 y2 x3 y3 x4 y4 x5 y5`, separated by tabs or spaces; the
    path may hold spaces. Blank lines are passed over.

    Raises:
        ValueError: naming file and line, if a line has another form.
    """
    landmarks = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            key, *numbers = line.strip().rsplit(maxsplit=10)
            try:
                points = np.array(numbers, dtype=np.float64).reshape(5, 2)
            except ValueError:
                points = np.full((5, 2), np.nan)
            if not np.all(np.isfinite(points)):
                raise ValueError(
                    f"{path}, line {number}: expected a path and ten finite numbers. "
                    f"Received: {line.strip()!r}"
                )
            landmarks[key.replace("\\", "/")] = points
    return landmarks


def read_names(path: str | os.PathLike) -> frozenset[str]:
    """One name a line; blank lines and lines that start with # are passed over."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    stripped = (line.strip() for line in lines)
    return frozenset(line for line in stripped if line and not line.startswith("#"))
