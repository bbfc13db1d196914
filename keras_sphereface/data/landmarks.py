"""Landmark files: a path and five points for each image, in any layout that public tools write."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from keras_sphereface.data.alignment import landmark_template
from keras_sphereface.data.keys import matched_keys
from keras_sphereface.data.landmark_layout import (
    PLAIN,
    SAMPLE_LINES,
    LandmarkLayout,
    choose_landmark_layout,
    landmark_layout_of_names,
)
from keras_sphereface.utils.text import numbered_lines

ALIGNED_SIZES = ((112, 96), (112, 112))
ALIGNED_DISTANCE = 4.0  # median, in pixels, from the template; detectors differ by 1 to 2


def find_layout(
    path: str | os.PathLike, lines: Iterable[tuple[int, str]], columns: str = ""
) -> tuple[LandmarkLayout, int]:
    """Return the layout of a landmark file, and the number of its first line of points.

    Args:
        path: The file that is named in messages.
        lines: Iterable of (number, line), of which the first are read.
        columns: Str. Names of the columns, as of `landmark_layout_of_names`; "": choose by the
            lines.

    Raises:
        ValueError: naming the file, if the layout cannot be told, or `columns` is wrong.
    """
    sample = list(itertools.islice(lines, SAMPLE_LINES))
    if columns:
        layout = landmark_layout_of_names(columns)
        return layout, next((number for number, line in sample if _parses(layout, line)), 1)
    try:
        return choose_landmark_layout(sample)
    except ValueError as error:
        raise ValueError(f"{path}, line {sample[0][0]}: {error}") from None


def landmark_lines(path: str | os.PathLike, columns: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the (key, (5, 2) points) of a landmark file; blank lines and a header are ignored.

    Raises:
        ValueError: naming file, line and its number of columns, if a line has another form than
            the first ones.
    """
    for _, key, points in _numbered_landmarks(path, columns):
        yield key, points


def _numbered_landmarks(
    path: str | os.PathLike, columns: str
) -> Iterator[tuple[int, str, np.ndarray]]:
    layout, first = find_layout(path, numbered_lines(path), columns)
    for number, line in numbered_lines(path):
        if number < first:
            continue
        try:
            key, points = layout.parse(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        yield number, key, points


def parse_landmarks(line: str) -> tuple[str, np.ndarray]:
    """Return the key and the (5, 2) points of a line `path x1 y1 ... x5 y5`.

    Tabs or spaces separate; the path may hold spaces.

    Raises:
        ValueError: if the line has another form.
    """
    return PLAIN.parse(line)


def landmark_line(key: str, points: np.ndarray) -> str:
    """Return the line of a landmark file that `parse_landmarks` reads, with its end."""
    return "\t".join([key, *(f"{value:.2f}" for value in np.ravel(points))]) + "\n"


def read_landmarks(path: str | os.PathLike, columns: str = "") -> dict[str, np.ndarray]:
    """Read a landmark file as {key: (5, 2) points in pixels}.

    The points are (x, y) of left eye, right eye, nose, left and right mouth corner as seen in the
    image. Other columns, and other orders, are found out by what fits the five-point template.

    Args:
        path: The file.
        columns: Str. Names of the columns, `path`, `x1`, `y1` ... `x5`, `y5` and any other for
            those that are not used; "": find them out.

    Raises:
        ValueError: naming the line, if it has another form, or an earlier line has other points
            for its image.

    Example:

    >>> landmarks = read_landmarks("faces/landmarks.txt")
    >>> landmarks["person_0001/person_0001_0001.jpg"].shape
    (5, 2)
    """
    landmarks: dict[str, np.ndarray] = {}
    for number, key, points in _numbered_landmarks(path, columns):
        if key in landmarks and not np.array_equal(landmarks[key], points):
            raise ValueError(
                f"{path}, line {number}: an image has one face. "
                f"Received: other points for {key} than above"
            )
        landmarks[key] = points
    return landmarks


def landmark_notes(path: str | os.PathLike, columns: str = "") -> list[str]:
    """Return what was decided on a landmark file, in sentences; none for the plain layout."""
    layout, first = find_layout(path, numbered_lines(path), columns)
    if columns or layout == PLAIN:
        return []
    skipped = f", from line {first} on" if first > 1 else ""
    return [
        f"{path} is read as {layout.describe()}{skipped}; by its header or by what fits a face. "
        "--landmark-columns overrules it."
    ]


def landmark_warnings(path: str | os.PathLike, columns: str = "") -> list[str]:
    """Return a warning if the points are those of faces that are aligned already."""
    sample = itertools.islice(landmark_lines(path, columns), SAMPLE_LINES)
    points = np.array([points for _, points in sample]).reshape(-1, 5, 2)
    for size in ALIGNED_SIZES:
        # Clipped: absurd points would overflow.
        distances = np.linalg.norm(points.clip(-1e6, 1e6) - landmark_template(size), axis=-1)
        if len(points) and np.median(distances) < ALIGNED_DISTANCE:
            return [
                f"The points of {path} are those of faces aligned to {size[0]} x {size[1]}. They "
                "fit images that are aligned already, which need no --landmarks; they would cut "
                "the originals in a wrong place."
            ]
    return []


def landmarks_of_keys(
    landmarks: Mapping[str, np.ndarray], keys: Iterable[str]
) -> dict[str, np.ndarray]:
    """Return the points of the images `keys`, whose names may differ as `matched_keys` allows."""
    return {key: landmarks[name] for key, name in matched_keys(keys, landmarks).items()}


def last_line_of(path: str | os.PathLike, key: str, columns: str = "") -> int:
    """Return the number, from 1, of the last line of a landmark file for `key`; 0 for none."""
    numbers = {name: number for number, name, _ in _numbered_landmarks(path, columns)}
    return numbers.get(matched_keys([key], numbers).get(key, key), 0)


def _parses(layout: LandmarkLayout, line: str) -> bool:
    try:
        layout.parse(line)
    except ValueError:
        return False
    return True
