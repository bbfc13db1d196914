"""Text files of one entry a line, landmarks among them."""

import os
from collections.abc import Iterator

import numpy as np

from keras_sphereface.utils.text import numbered_lines


def landmark_lines(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """The (key, (5, 2) points) of a landmark file, one after the other.

    Blank lines are passed over.

    Raises:
        ValueError: naming file and line, if a line has another form than `parse_landmarks` reads.
    """
    for number, line in numbered_lines(path):
        try:
            yield parse_landmarks(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None


def parse_landmarks(line: str) -> tuple[str, np.ndarray]:
    """A line `relative/path x1 y1 x2 y2 x3 y3 x4 y4 x5 y5` -> key, (5, 2) points.

    Tabs or spaces separate; the path may hold spaces.

    Raises:
        ValueError: if the line has another form.
    """
    key, *numbers = line.rsplit(maxsplit=10)
    try:
        points = np.array(numbers, dtype=np.float64).reshape(5, 2)
    except ValueError:
        points = np.full((5, 2), np.nan)
    if not np.isfinite(points).all():
        raise ValueError(f"expected a path and ten finite numbers. Received: {line!r}")
    return key.replace("\\", "/"), points


def landmark_line(key: str, points: np.ndarray) -> str:
    """The inverse of `parse_landmarks`, with the end of the line."""
    return "\t".join([key, *(f"{value:.2f}" for value in np.ravel(points))]) + "\n"


def read_landmarks(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """A landmark file as {key: (5, 2) points}; see `landmark_lines`.

    Raises:
        ValueError: naming the line, also if an image has another line before, with other points.
    """
    found: dict[str, np.ndarray] = {}
    for key, points in landmark_lines(path):
        if key in found and not np.array_equal(found[key], points):
            raise ValueError(
                f"{path}, line {line_of(path, key)}: an image has one face. "
                f"Received: other points for {key} than above"
            )
        found[key] = points
    return found


def line_of(path: str | os.PathLike, key: str) -> int:
    """The number, from 1, of the last line of a landmark file that is for `key`; 0 if none is."""
    found = 0
    for number, line in numbered_lines(path):
        if line[0] in key[:1] + "\\" and parse_landmarks(line)[0] == key:
            found = number
    return found
