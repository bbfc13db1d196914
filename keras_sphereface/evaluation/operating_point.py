"""The comparisons of a set's images, and one threshold at which groups and errors are judged."""

import collections
import dataclasses
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.metrics.comparisons import (
    Comparisons,
    compare_all,
    compare_pairs,
    num_allowed,
)

MAX_IMAGES = 20_000  # that are all compared with each other, in a minute or two
MIN_FALSE_MATCHES = 10  # at a threshold: with fewer the rate of none of its parts means much
FALLBACK_FMRS = (0.001, 0.01, 0.1)
NUM_HIGHEST = 1000  # mismatched comparisons that are kept at least, for lists of errors


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """One threshold and the errors at it, over the comparisons of a set's images.

    Scores are cosines of embeddings, those of the mirror images joined; nothing is subtracted, so
    that the threshold holds for single comparisons in use.

    Attributes:
        compared: "all images" where each image was compared with each other, else "listed pairs".
        wanted_fmr: Float in (0, 1). False match rate that was asked for.
        fmr: Float in [0, 1]. False match rate at the threshold. It is above `wanted_fmr` where the
            comparisons are too few for that.
        threshold: Float. Lowest cosine of a match.
        fnmr: Float in [0, 1]. False non-match rate at the threshold.
        num_matched: Int. Matched comparisons.
        num_mismatched: Int. Mismatched comparisons.

    Example:
        >>> OperatingPoint("all images", 0.001, 0.001, 0.4, 0.1, 2000, 1_000_000).fnmr
        0.1
    """

    compared: str
    wanted_fmr: float
    fmr: float
    threshold: float
    fnmr: float
    num_matched: int
    num_mismatched: int

    def __str__(self) -> str:
        """The point in a sentence."""
        return (
            f"Threshold {self.threshold:.4f} (cosine of the embeddings), at which "
            f"{100 * self.fmr:.3g} % of {self.num_mismatched:,} mismatched comparisons match (FMR) "
            f"and {100 * self.fnmr:.3g} % of {self.num_matched:,} matched ones do not (FNMR). "
            f"The comparisons are of {self.compared}."
        )


class ComparedImages(NamedTuple):
    """The images of complete pairs and their comparisons.

    Attributes:
        keys: N keys of images or templates.
        identities: (N,) int from 0, the identity of each; each its own where none is known.
        embeddings: (N, D).
        comparisons: Comparisons of the rows of these.
        point: Threshold and errors.
        has_identities: Whether identities are known.
    """

    keys: list[str]
    identities: np.ndarray
    embeddings: np.ndarray
    comparisons: Comparisons
    point: OperatingPoint
    has_identities: bool


def compare_images(
    pairs: lfw.Pairs, embeddings: Embeddings, has_identities: bool, wanted_fmr: float = 0.001
) -> ComparedImages:
    """Compare the images of pairs: all with each other, or as listed if no identities are known.

    The threshold is at `wanted_fmr`, or at the lowest of 0.1, 1 and 10 % above it that allows 10
    false matches.

    Args:
        pairs: Complete pairs.
        embeddings: Embeddings of their images or templates.
        has_identities: Bool. Whether the keys of images name identities.
        wanted_fmr: Float in (0, 1).

    Example:
        >>> from keras_sphereface.data.pairs.lfw import Pairs
        >>> pairs = Pairs(["a/1", "a/1"], ["a/2", "b/1"], np.array([True, False]), np.ones(2, int))
        >>> views = np.array([[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]]])
        >>> compared = compare_images(pairs, Embeddings(["a/1", "a/2", "b/1"], views, {}), True)
        >>> compared.point.compared, compared.point.num_mismatched, compared.point.fnmr
        ('all images', 2, 0.0)
    """
    keys = pairs.keys()
    features = embeddings.features[embeddings.rows(keys)]
    names = [identity_of_key(key) if has_identities else key for key in keys]
    identities = np.unique(names, return_inverse=True)[1]
    if has_identities and len(keys) <= MAX_IMAGES:
        images = collections.Counter(names).values()
        total = (len(keys) ** 2 - sum(count**2 for count in images)) // 2
        fmr = _supported_fmr(wanted_fmr, total)
        num_highest = max(num_allowed(fmr, total) + 1, NUM_HIGHEST)
        comparisons, compared = compare_all(features, identities, num_highest), "all images"
    else:
        row_of = {key: row for row, key in enumerate(keys)}
        sides = [[row_of[key] for key in side] for side in (pairs.first, pairs.second)]
        rows = np.array(sides, np.int64).T
        comparisons, compared = compare_pairs(features, rows, pairs.is_same), "listed pairs"
        fmr = _supported_fmr(wanted_fmr, comparisons.num_mismatched)
    threshold = comparisons.threshold_at_fmr(fmr)
    num_false_matches = len(comparisons.false_matches(threshold))
    point = OperatingPoint(
        compared,
        wanted_fmr,
        num_false_matches / comparisons.num_mismatched,
        threshold,
        float(comparisons.false_nonmatches(threshold).mean()),
        len(comparisons.matched),
        comparisons.num_mismatched,
    )
    return ComparedImages(keys, identities, features, comparisons, point, has_identities)


def _supported_fmr(wanted: float, num_mismatched: int) -> float:
    """Return the wanted rate, or the lowest above it that allows enough false matches."""
    higher = [fmr for fmr in FALLBACK_FMRS if fmr > wanted]
    for fmr in (wanted, *higher):
        if num_allowed(fmr, num_mismatched) >= MIN_FALSE_MATCHES:
            return fmr
    return max(wanted, *FALLBACK_FMRS) if higher else wanted
