"""Whom and what a data set leaves out."""

import fnmatch
import os
import re
from collections.abc import Iterable
from typing import Any

from keras_sphereface import lfw
from keras_sphereface.config import RecordsConfig
from keras_sphereface.lists import numbered_lines
from keras_sphereface.pictures import Picture

# The authors found these people of CASIA-WebFace in LFW as well.
IN_CASIA_AND_LFW = frozenset({"0166921", "1056413", "1193098"})


class Exclusions:
    """People and pictures to leave out.

    Args:
        identities: names of people.
        patterns: shell patterns (*, ?, [...]) of people's names or of whole keys.
        if_there: names of people whom nobody misses if they are not in the source.
    """

    def __init__(
        self,
        identities: Iterable[str] = (),
        patterns: Iterable[str] = (),
        if_there: Iterable[str] = (),
    ):
        self.identities, self.patterns = frozenset(identities), tuple(patterns)
        self.if_there = frozenset(if_there)
        expression = "|".join(map(fnmatch.translate, self.patterns))
        self._pattern = re.compile(expression) if expression else None

    def excludes_person(self, identity: str) -> bool:
        """Whether all pictures of a person are left out."""
        named = identity in self.identities or identity in self.if_there
        return named or self._matches(identity)

    def excludes(self, picture: Picture) -> bool:
        """Whether a picture is left out."""
        return self.excludes_person(picture.identity) or self._matches(picture.key)

    def facts(self, identities: set[str], num_images: int) -> dict[str, Any]:
        """What dataset.json says, of the people and the number of pictures that were left out."""
        return {
            "excluded_identities": sorted(identities),
            "excluded_images": num_images,
            "unknown_exclusions": sorted(self.identities - identities),
        }

    def _matches(self, name):
        return self._pattern is not None and self._pattern.match(name) is not None


def read_exclusions(path: str | os.PathLike) -> Exclusions:
    """One identity or pattern a line; blank lines and lines that start with # are passed over.

    A line with *, ? or [ is a pattern, and so is one with a slash, which names one picture.

    Raises:
        ValueError: if the file is not UTF-8 text.
    """
    lines = [line for _, line in numbered_lines(path) if not line.startswith("#")]
    patterns = [line for line in lines if any(sign in line for sign in "*?[/")]
    return Exclusions(set(lines) - set(patterns), patterns)


def exclusions_of(config: RecordsConfig) -> Exclusions:
    """Everyone and everything that the settings leave out."""
    listed = read_exclusions(config.exclude) if config.exclude else Exclusions()
    identities = listed.identities
    if config.exclude_pairs:
        identities |= lfw.read_pairs(config.exclude_pairs).in_folds(config.exclude_folds).people()
    known = IN_CASIA_AND_LFW if config.exclude_casia_lfw else ()
    return Exclusions(identities, listed.patterns, known)
