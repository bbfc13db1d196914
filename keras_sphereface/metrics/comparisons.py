"""All comparisons of a set's images: the matched ones, and the mismatched ones that score highest.

Of N images there are some N^2 / 2 comparisons, nearly all of them mismatched and far below any
threshold. Errors are among the highest alone, so only these are kept: the count of the others is
enough for a rate.
"""

import dataclasses

import numpy as np

from keras_sphereface.metrics.identification.products import matched_pairs, slices
from keras_sphereface.metrics.roc import RATE_TOLERANCE
from keras_sphereface.metrics.vectors import pair_products, unit_rows

BLOCK = 512  # rows of the matrix of all scores that are held at once


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """Matched comparisons, and the mismatched ones of highest score. Scores are cosines.

    Attributes:
        matched: (M, 2) int, rows of both images.
        matched_scores: (M,).
        mismatched: (K, 2) int, rows of both images, those of the highest score first.
        mismatched_scores: (K,), falling.
        num_mismatched: Int >= K. Number of all mismatched comparisons.

    Example:
        >>> compare_all(np.eye(3)[[0, 0, 1]], np.array([7, 7, 8]), num_highest=1).mismatched_scores
        array([0.])
    """

    matched: np.ndarray
    matched_scores: np.ndarray
    mismatched: np.ndarray
    mismatched_scores: np.ndarray
    num_mismatched: int

    def threshold_at_fmr(self, fmr: float) -> float:
        """Return the threshold of the highest false match rate that is at most `fmr`.

        A comparison matches if its score is at least the threshold. It lies midway between the
        lowest score that matches and the next one, so that rounding changes no decision.

        Args:
            fmr: Float in (0, 1).

        Raises:
            ValueError: If too few mismatched comparisons are kept to know it.

        Example:
            >>> embeddings = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
            >>> kept = compare_all(embeddings, np.array([7, 8, 9]), num_highest=3)
            >>> [round(kept.threshold_at_fmr(fmr), 6) for fmr in (0.1, 0.4, 0.7)]
            [0.8, 0.7, 0.3]
        """
        allowed = num_allowed(fmr, self.num_mismatched)
        if allowed >= len(self.mismatched_scores):
            raise ValueError(
                f"The threshold at a false match rate of {fmr:g} needs the {allowed + 1:,} highest "
                f"mismatched comparisons. Received: {len(self.mismatched_scores):,}"
            )
        highest_refused = self.mismatched_scores[allowed]
        matching = self.mismatched_scores[self.mismatched_scores > highest_refused]
        if not len(matching):
            return float(np.nextafter(highest_refused, np.inf))
        return float((matching[-1] + highest_refused) / 2)

    def false_matches(self, threshold: float) -> np.ndarray:
        """Return the mismatched comparisons (F, 2) of at least this score, the highest first."""
        return self.mismatched[self.mismatched_scores >= threshold]

    def false_nonmatches(self, threshold: float) -> np.ndarray:
        """Return which matched comparisons (M,) score below the threshold."""
        return self.matched_scores < threshold


def num_allowed(fmr: float, num_mismatched: int) -> int:
    """Return how many false matches a false match rate allows.

    Example:
        >>> num_allowed(1e-3, num_mismatched=3500)
        3
    """
    return int(fmr * RATE_TOLERANCE * num_mismatched)


def compare_all(embeddings: np.ndarray, labels: np.ndarray, num_highest: int) -> Comparisons:
    """Compare all images with each other, block by block.

    Args:
        embeddings: (N, D) real numbers of any length but zero.
        labels: (N,) integers or strings, the identities.
        num_highest: Int. Number of mismatched comparisons to keep.

    Raises:
        ValueError: If an embedding is zero or not finite.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
        >>> kept = compare_all(embeddings, np.array(["a", "a", "b"]), num_highest=1)
        >>> kept.matched.tolist(), kept.mismatched.tolist(), kept.num_mismatched
        ([[0, 1]], [[1, 2]], 2)
    """
    unit = unit_rows(embeddings, "embeddings")
    codes = np.unique(labels, return_inverse=True)[1]
    first, second = matched_pairs(codes, codes)
    matched = np.stack([first, second], axis=1)[first < second]
    mismatched, scores = _highest_mismatched(unit, codes, num_highest)
    num_all = len(unit) * (len(unit) - 1) // 2
    return Comparisons(
        matched, pair_products(unit, matched), mismatched, scores, num_all - len(matched)
    )


def compare_pairs(embeddings: np.ndarray, pairs: np.ndarray, is_same: np.ndarray) -> Comparisons:
    """Compare listed pairs alone, and keep all of them.

    Args:
        embeddings: (N, D) real numbers of any length but zero.
        pairs: (P, 2) int, rows of the two images of each pair.
        is_same: (P,) bool, True for matched pairs.

    Raises:
        ValueError: If an embedding is zero or not finite.

    Example:
        >>> pairs, is_same = np.array([(0, 1), (0, 2)]), np.array([True, False])
        >>> compare_pairs(np.eye(3)[[0, 0, 1]], pairs, is_same).matched_scores
        array([1.])
    """
    unit = unit_rows(embeddings, "embeddings")
    scores = pair_products(unit, pairs)
    order = np.argsort(-scores[~is_same], kind="stable")
    return Comparisons(
        pairs[is_same],
        scores[is_same],
        pairs[~is_same][order],
        scores[~is_same][order],
        int(np.sum(~is_same)),
    )


def _highest_mismatched(
    unit: np.ndarray, codes: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (K, 2) and scores (K,) of the highest mismatched comparisons, falling."""
    pairs, scores = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    bound = np.float32(-np.inf)  # what scores lower is not among the highest
    for rows in slices(0, len(unit), BLOCK):
        cosines = unit[rows] @ unit[rows.start :].T
        is_candidate = cosines >= bound
        is_candidate &= codes[rows, None] != codes[rows.start :]
        # Each pair once: from the image that comes first.
        i, j = np.nonzero(np.triu(is_candidate, k=1))
        pairs = np.concatenate([pairs, np.stack([i, j], axis=1) + rows.start])
        scores = np.concatenate([scores, cosines[i, j]])
        if len(scores) > max(count, 1):
            kept = np.argsort(-scores, kind="stable")[:count]
            pairs, scores = pairs[kept], scores[kept]
            bound = scores[-1] if count else np.float32(np.inf)
    order = np.argsort(-scores, kind="stable")[:count]
    return pairs[order], scores[order].astype(np.float64)
