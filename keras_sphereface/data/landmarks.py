"""Landmark files: a line `relative/path x1 y1 x2 y2 x3 y3 x4 y4 x5 y5` for each image."""

import os
from collections.abc import Iterator

import numpy as np

from keras_sphereface.utils.text import numbered_lines


def landmark_lines(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the (key, (5, 2) points) of a landmark file; blank lines are ignored.

    Raises:
        ValueError: naming file and line, if a line has another form than `parse_landmarks` reads.
    """
    for number, line in numbered_lines(path):
        try:
            yield parse_landmarks(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None


def parse_landmarks(line: str) -> tuple[str, np.ndarray]:
    """Return the key and the (5, 2) points of a line.

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
    """Return the line of a landmark file that `parse_landmarks` reads, with its end."""
    return "\t".join([key, *(f"{value:.2f}" for value in np.ravel(points))]) + "\n"


def read_landmarks(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a landmark file as {key: (5, 2) points in pixels}.

    The points are (x, y) of left eye, right eye, nose, left and right mouth corner as seen in the
    image.

    Raises:
        ValueError: naming the line, if it has another form, or an earlier line has other points
            for its image.

    Example:

    >>> landmarks = read_landmarks("faces/landmarks.txt")
    >>> landmarks["person_0001/person_0001_0001.jpg"].shape
    (5, 2)
    """
    landmarks: dict[str, np.ndarray] = {}
    for key, points in landmark_lines(path):
        if key in landmarks and not np.array_equal(landmarks[key], points):
            raise ValueError(
                f"{path}, line {last_line_of(path, key)}: an image has one face. "
                f"Received: other points for {key} than above"
            )
        landmarks[key] = points
    return landmarks


def last_line_of(path: str | os.PathLike, key: str) -> int:
    """Return the number, from 1, of the last line of a landmark file for `key`; 0 for none."""
    last = 0
    for number, line in numbered_lines(path):
        if line[0] in key[:1] + "\\" and parse_landmarks(line)[0] == key:
            last = number
    return last
