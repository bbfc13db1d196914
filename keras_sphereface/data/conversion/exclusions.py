"""Identities and images that a data set leaves out."""

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.utils.text import numbered_lines

# The identities of CASIA-WebFace that Liu et al. found in LFW as well.
IN_CASIA_AND_LFW = frozenset({"0166921", "1056413", "1193098"})


class Exclusions:
    """Identities and images to leave out.

    Args:
        lines: Iterable of str. Each is an identity, the key of an image, or a shell pattern
            (*, ?, [...]): of keys if it holds a slash, of identities otherwise.
        optional: Iterable of str. Identities that may be absent from the source.

    Example:

    >>> exclusions = Exclusions(["Ada_*", "Bob/7.jpg"])
    >>> images = [ImageRecord(f"{name}/7.jpg", name, b"") for name in ("Ada_1", "Bob", "Cem")]
    >>> [exclusions.line_for(image) for image in images]
    ['Ada_*', 'Bob/7.jpg', None]
    """

    def __init__(self, lines: Iterable[str] = (), optional: Iterable[str] = ()):
        self.lines, self.optional = frozenset(lines), frozenset(optional)
        # Each line is first taken literally: names may hold a bracket.
        self._patterns = [
            (line, re.compile(fnmatch.translate(line)))
            for line in sorted(self.lines)
            if any(sign in line for sign in "*?[")
        ]

    def line_for(self, image: ImageRecord) -> str | None:
        """Return the line that leaves an image out; None if no line does."""
        for name in (image.identity, image.key):
            if name in self.lines or name in self.optional:
                return name
        for line, pattern in self._patterns:
            if pattern.match(image.key if "/" in line else image.identity):
                return line
        return None

    def summary(self, counts: Mapping[tuple[str, str], int]) -> dict[str, Any]:
        """Return the fields of `DatasetInfo` about exclusions.

        Args:
            counts: Mapping of (line, identity) to the number of images left out.
        """
        matched = {line for line, _ in counts}
        return {
            "excluded_identities": sorted({name for line, name in counts if "/" not in line}),
            "excluded_images": sum(counts.values()),
            "unknown_exclusions": sorted(self.lines - matched),
        }


def read_exclusions(path: str | os.PathLike) -> Exclusions:
    """Read a file of one identity, image or pattern a line.

    Blank lines, and those that start with #, are ignored.

    Raises:
        ValueError: if the file is not UTF-8 text.

    Example:

    >>> exclusions = read_exclusions("faces/test_identities.txt")
    >>> len(exclusions.lines), "person_0006" in exclusions.lines
    (14, True)
    """
    return Exclusions(line for _, line in numbered_lines(path) if not line.startswith("#"))


def combined_exclusions(
    file: str, pairs_file: str, folds: Iterable[int], casia_lfw: bool
) -> Exclusions:
    """Return all exclusions of a conversion.

    Args:
        file: Path of a file for `read_exclusions`, or "".
        pairs_file: Path of a pairs.txt whose identities are left out, or "".
        folds: Iterable of int. Folds of `pairs_file`, from 1; empty: all.
        casia_lfw: Bool. Whether to leave out `IN_CASIA_AND_LFW`.
    """
    lines = read_exclusions(file).lines if file else frozenset()
    if pairs_file:
        lines |= lfw.read_pairs(pairs_file).in_folds(folds).identities()
    return Exclusions(lines, IN_CASIA_AND_LFW if casia_lfw else ())
