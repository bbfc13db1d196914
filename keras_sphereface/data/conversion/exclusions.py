"""Whom and what a data set leaves out."""

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.types import ImageRecord
from keras_sphereface.utils.text import numbered_lines

# The authors found these people of CASIA-WebFace in LFW as well.
IN_CASIA_AND_LFW = frozenset({"0166921", "1056413", "1193098"})


class Exclusions:
    """People and images to leave out.

    Args:
        lines: each the name of a person, the key of an image, or a shell pattern (*, ?, [...]):
            of keys if it holds a slash, of people otherwise.
        if_there: names of people whom nobody misses if they are not in the source.
    """

    def __init__(self, lines: Iterable[str] = (), if_there: Iterable[str] = ()):
        self.lines, self.if_there = frozenset(lines), frozenset(if_there)
        # Each line is first taken literally: names may hold a bracket.
        self._patterns = [
            (line, re.compile(fnmatch.translate(line)))
            for line in sorted(self.lines)
            if any(sign in line for sign in "*?[")
        ]

    def line_for(self, image: ImageRecord) -> str | None:
        """The line that leaves an image out; None if none does."""
        for name in (image.identity, image.key):
            if name in self.lines or name in self.if_there:
                return name
        for line, pattern in self._patterns:
            if pattern.match(image.key if "/" in line else image.identity):
                return line
        return None

    def facts(self, found: Mapping[tuple[str, str], int]) -> dict[str, Any]:
        """What dataset.json says, from the number of images by (line, identity) left out."""
        lines = {line for line, _ in found}
        return {
            "excluded_identities": sorted({name for line, name in found if "/" not in line}),
            "excluded_images": sum(found.values()),
            "unknown_exclusions": sorted(self.lines - lines),
        }


def read_exclusions(path: str | os.PathLike) -> Exclusions:
    """One person, image or pattern a line; blank lines and those that start with # are none.

    Raises:
        ValueError: if the file is not UTF-8 text.
    """
    return Exclusions(line for _, line in numbered_lines(path) if not line.startswith("#"))


def exclusions_of(config: ConvertConfig) -> Exclusions:
    """Everyone and everything that the settings leave out."""
    lines = read_exclusions(config.exclude).lines if config.exclude else frozenset()
    if config.exclude_pairs:
        lines |= lfw.read_pairs(config.exclude_pairs).in_folds(config.exclude_folds).identities()
    return Exclusions(lines, IN_CASIA_AND_LFW if config.exclude_casia_lfw else ())
