"""False match rates from all pairs of a set's images, exact, however many there are.

A list of 3,000 mismatched pairs carries false match rates down to 1 in 3,000. The images of such a
list have millions of mismatched pairs, if all are compared. They are far from independent: an
identity is in thousands of them, and the intervals know that. Only the highest scores are kept.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.dyadic import effective_count, wilson_interval
from keras_sphereface.metrics.identification.products import matched_pairs, slices
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs
from keras_sphereface.metrics.roc import RATE_TOLERANCE
from keras_sphereface.metrics.vectors import pair_products, unit_rows

BLOCK = 1024  # images compared at once with all later ones
TAIL_SHARE = 0.03  # of the mismatched pairs are kept: rates up to 1 % and their intervals
MAX_TAIL = 5_000_000  # pairs
SAMPLE = 200_000  # pairs that the lowest score to keep is guessed from


@dataclasses.dataclass(frozen=True)
class ImpostorTail:
    """The highest scores of all mismatched pairs of a set of images.

    Attributes:
        scores: (K,) cosines, falling.
        first: (K,) int, identity of one image of each pair.
        second: (K,) int, identity of the other.
        num_pairs: Int. P, number of all mismatched pairs.
        num_images: (n,) int, number of images of each identity.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> tail = impostor_tail(embeddings, np.array(["a", "b", "c"]), share=1.0)
        >>> tail.num_pairs, len(tail.scores), round(tail.fmr(0.7), 3)
        (3, 3, 0.333)
    """

    scores: np.ndarray
    first: np.ndarray
    second: np.ndarray
    num_pairs: int
    num_images: np.ndarray

    @property
    def largest_fmr(self) -> float:
        """The largest false match rate that the kept scores tell."""
        return len(self.scores) / self.num_pairs

    def fmr(self, threshold: float) -> float:
        """Return the false match rate at a threshold.

        Raises:
            ValueError: If the threshold is below all scores that were kept.
        """
        return self._num_accepted(threshold) / self.num_pairs

    def fmr_interval(self, threshold: float) -> Interval:
        """Return the 95 % interval of the false match rate at a threshold, by identity.

        It is Wilson's, with as many independent pairs as would have the variance that is robust to
        dyadic clusters (`dyadic.dyadic_variance`, `dyadic.effective_count`).

        Raises:
            ValueError: If the threshold is below all scores that were kept.
        """
        return pooled_fmr([self], [threshold])[1]

    def threshold(self, fmr: float) -> float | None:
        """Return the lowest threshold with at most this false match rate.

        It is just above the highest score that it rejects; None where the rate allows less than one
        pair, or more pairs than were kept.
        """
        allowed = int(fmr * RATE_TOLERANCE * self.num_pairs)
        if not 1 <= allowed < len(self.scores):
            return None
        return float(np.nextafter(self.scores[allowed], np.float32(np.inf)))

    def threshold_interval(self, fmr: float) -> Interval | None:
        """Return the 95 % interval of the threshold of a false match rate, by identity.

        Its ends are the thresholds of the ends of the interval of the rate; where the kept scores
        do not tell one, -1 or 1, beyond which there is no cosine. None where there is no threshold.
        """
        threshold = self.threshold(fmr)
        if threshold is None:
            return None
        of_rate = self.fmr_interval(threshold)
        low, high = self.threshold(of_rate.high), self.threshold(of_rate.low)
        return Interval(-1.0 if low is None else low, 1.0 if high is None else high)

    def _num_accepted(self, threshold: float) -> int:
        if threshold < self.scores[-1] and len(self.scores) < self.num_pairs:
            raise ValueError(
                f"The threshold must be >= {self.scores[-1]:.4f}, the lowest of the kept scores. "
                f"Received: threshold={threshold}"
            )
        return int(np.searchsorted(-self.scores, -threshold, side="right"))

    def _squares(self, threshold: float, rate: float) -> np.ndarray:
        """Return the two sums of `dyadic_variance`, of identities less dyads and of dyads alone.

        The deviations are those of accepted and rejected pairs from `rate`.
        """
        count = self._num_accepted(threshold)
        n, sizes = len(self.num_images), self.num_images.astype(np.float64)
        first, second = self.first[:count], self.second[:count]
        accepted = np.bincount(first, minlength=n) + np.bincount(second, minlength=n)
        deviations = accepted - rate * sizes * (sizes.sum() - sizes)
        low, high = np.minimum(first, second), np.maximum(first, second)
        dyads, of_dyads = np.unique(low * n + high, return_counts=True)
        of_pairs = sizes[dyads // n] * sizes[dyads % n]  # pairs of images of these identities
        all_squares = (np.sum(sizes**2) ** 2 - np.sum(sizes**4)) / 2
        own = np.sum(of_dyads**2.0) - 2 * rate * of_dyads @ of_pairs + rate**2 * all_squares
        return np.array([np.sum(np.square(deviations)) - own, own])


def pooled_fmr(
    tails: Sequence[ImpostorTail], thresholds: Sequence[float]
) -> tuple[float, Interval]:
    """Return the false match rate over sets that share no identity, and its 95 % interval.

    Deviations are from the rate over all sets: a set of two identities, which is one dyad, has none
    from its own.

    Args:
        tails: One of each set.
        thresholds: One for each.

    Raises:
        ValueError: If a threshold is below all scores that were kept.

    Example:
        >>> tail = impostor_tail(np.eye(4) + 0.1, np.array([0, 0, 1, 1]), share=1.0)
        >>> rate, interval = pooled_fmr([tail, tail], [0.0, 0.9])
        >>> rate, round(interval.low, 2), round(interval.high, 2)
        (0.5, 0.09, 0.91)
    """
    both = list(zip(tails, thresholds, strict=True))
    num_pairs = sum(tail.num_pairs for tail in tails)
    rate = sum(tail._num_accepted(threshold) for tail, threshold in both) / num_pairs
    squares = np.sum([tail._squares(threshold, rate) for tail, threshold in both], axis=0)
    num_dyads = sum(len(tail.num_images) * (len(tail.num_images) - 1) // 2 for tail in tails)
    count = effective_count(rate, float(squares.max()) / num_pairs**2, num_pairs, num_dyads)
    return rate, wilson_interval(rate, count)


def impostor_tail(
    embeddings: np.ndarray, identities: np.ndarray, share: float = TAIL_SHARE
) -> ImpostorTail:
    """Compare all images with each other, and keep the highest scores of mismatched pairs.

    Args:
        embeddings: (N, D).
        identities: (N,) integers or strings.
        share: Float in (0, 1]. Share of the mismatched pairs to keep, about; five million at most.

    Raises:
        ValueError: If there are fewer than two identities, `share` is out of range, a row
            is zero or not finite, or shapes do not fit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> tail = impostor_tail(rng.normal(size=(400, 8)), np.arange(400) // 2)
        >>> tail.num_pairs, 0.01 < tail.largest_fmr < 0.05
        (79600, True)
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1]. Received: share={share}")
    names, codes, num_images = np.unique(identities, return_inverse=True, return_counts=True)
    if len(codes) != len(embeddings) or len(names) < 2:
        raise ValueError(
            "There must be an identity for each embedding, two or more. "
            f"Received: {len(embeddings)} embeddings, {len(codes)} identities, {len(names)} of "
            "them different"
        )
    rows = unit_rows(embeddings, "embeddings")
    num_pairs = (len(rows) ** 2 - int(np.sum(num_images.astype(np.int64) ** 2))) // 2
    wanted = max(1, min(int(share * num_pairs), MAX_TAIL))
    floor = -np.inf if share >= 1 else _guessed_floor(rows, codes, wanted / num_pairs)
    while True:
        scores, first, second = _above(rows, codes, floor)
        if len(scores) >= wanted or len(scores) == num_pairs:
            break
        floor -= 0.02  # the guess was too high
    order = np.argsort(-scores, kind="stable")
    return ImpostorTail(scores[order], first[order], second[order], num_pairs, num_images)


def genuine_scores(
    embeddings: np.ndarray, identities: np.ndarray
) -> tuple[np.ndarray, IdentityPairs]:
    """Return the scores (M,) of all matched pairs of images, and their identities.

    Example:
        >>> scores, pairs = genuine_scores(np.eye(3), np.array(["a", "b", "a"]))
        >>> scores, pairs.first
        (array([0.]), array([0]))
    """
    names, codes = np.unique(identities, return_inverse=True)
    one, other = matched_pairs(codes, codes)
    pairs = np.stack([one, other], axis=1)[one < other]
    scores = pair_products(unit_rows(embeddings, "embeddings").astype(np.float64), pairs)
    of_pairs = codes[pairs[:, 0]]
    return scores, IdentityPairs(of_pairs, of_pairs, len(names))


def _guessed_floor(rows: np.ndarray, codes: np.ndarray, share: float) -> float:
    """Return a score above which a little more than this share of mismatched pairs lies."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(rows), size=(SAMPLE, 2))
    pairs = pairs[codes[pairs[:, 0]] != codes[pairs[:, 1]]]
    scores = pair_products(rows, pairs)
    # Three standard errors of a share more.
    margin = 3 * np.sqrt(share * (1 - share) / len(scores))
    return float(np.quantile(scores, max(0.0, 1 - share - margin)))


def _above(
    rows: np.ndarray, codes: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scores of mismatched pairs of at least `floor`, and both identities, (K,) each."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for block in slices(0, len(rows), BLOCK):
        scores = rows[block] @ rows[block.start :].T  # (B, N - start)
        row, column = np.nonzero(scores >= floor)
        first, second = codes[block][row], codes[block.start :][column]
        is_kept = (column > row) & (first != second)
        row, column = row[is_kept], column[is_kept]
        found.append((scores[row, column], first[is_kept], second[is_kept]))
    scores, first, second = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return scores, first, second
