"""Identities and images that a data set leaves out."""

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from keras_sphereface.config.suggestions import nearest
from keras_sphereface.data.keys import canonical_name
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.utils.text import counted, numbered_lines

# The identities of CASIA-WebFace that Liu et al. found in LFW as well.
IN_CASIA_AND_LFW = frozenset({"0166921", "1056413", "1193098"})


class UnknownExclusionError(ValueError):
    """A line of the exclusions meets nothing in the source.

    Example:

    >>> Exclusions(["Ada"], required=["Ada"]).check_met([], ["Adah"])
    Traceback (most recent call last):
    UnknownExclusionError: ...Received: 1 lines that meet nothing: Ada (the nearest name is Adah)
    """


class Exclusions:
    """Identities and images to leave out.

    Args:
        lines: Iterable of str. Each is an identity, the key of an image, or a shell pattern
            (*, ?, [...]): of keys if it holds a slash, of identities otherwise.
        optional: Iterable of str. Identities that may be absent from the source.
        required: Iterable of str. Those of `lines` that must meet something, as a user wrote them.

    Names are compared in one Unicode form: a list from elsewhere meets the folders of macOS.

    Example:

    >>> exclusions = Exclusions(["Ada_*", "Bob/7.jpg"])
    >>> images = [ImageRecord(f"{name}/7.jpg", name, b"") for name in ("Ada_1", "Bob", "Cem")]
    >>> [exclusions.line_for(image) for image in images]
    ['Ada_*', 'Bob/7.jpg', None]
    """

    def __init__(
        self,
        lines: Iterable[str] = (),
        optional: Iterable[str] = (),
        required: Iterable[str] = (),
    ):
        self.lines, self.optional, self.required = map(frozenset, (lines, optional, required))
        self._lines = {canonical_name(line): line for line in sorted(self.lines | self.optional)}
        # Each line is first taken literally: names may hold a bracket.
        self._patterns = [
            (line, re.compile(fnmatch.translate(canonical_name(line))))
            for line in sorted(self.lines)
            if any(sign in line for sign in "*?[")
        ]

    def line_for(self, image: ImageRecord) -> str | None:
        """Return the line that leaves an image out; None if no line does."""
        identity, key = canonical_name(image.identity), canonical_name(image.key)
        for name in (identity, key):
            if (line := self._lines.get(name)) is not None:
                return line
        for line, pattern in self._patterns:
            if pattern.match(key if "/" in line else identity):
                return line
        return None

    def check_met(self, matched: Iterable[str], names: Iterable[str]) -> None:
        """Refuse required lines that met nothing, with the nearest names of the source.

        Args:
            matched: Iterable of str. Lines that left something out.
            names: Iterable of str. Identities that were not left out.

        Raises:
            UnknownExclusionError: if a required line met nothing.
        """
        if not (unmet := sorted(self.required.difference(matched))):
            return
        names = list(names)
        shown = []
        for line in unmet[:3]:
            near = nearest(line.split("/")[0], names)
            shown.append(f"{line} (the nearest name is {near})" if near else line)
        raise UnknownExclusionError(
            "Every line of `exclude` must meet an identity or an image of the source, for a "
            "mistyped name would stay in the training set; --allow-missing lets them be. "
            f"Received: {counted(len(unmet), 'line')} that meet nothing: {', '.join(shown)}"
            + (", ..." if len(unmet) > 3 else "")
        )

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
    file: str,
    pairs_file: str,
    folds: Iterable[int],
    casia_lfw: bool,
    allow_missing: bool = True,
    pair_columns: str = "",
) -> Exclusions:
    """Return all exclusions of a conversion.

    Args:
        file: Path of a file for `read_exclusions`, or "".
        pairs_file: Path of a list of pairs whose identities are left out, or "".
        folds: Iterable of int. Folds of `pairs_file`, from 1; empty: all.
        casia_lfw: Bool. Whether to leave out `IN_CASIA_AND_LFW`.
        allow_missing: Bool. Whether lines of `file` may meet nothing in the source.
        pair_columns: Str. Names of the columns of `pairs_file`; "": recognize them.
    """
    lines = read_exclusions(file).lines if file else frozenset()
    required = () if allow_missing else lines
    if pairs_file:
        lines |= identities_of_pairs(pairs_file, folds, pair_columns)
    return Exclusions(lines, IN_CASIA_AND_LFW if casia_lfw else (), required)
