"""The gain in accuracy of one loss over another, on the same pairs and seeds."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.intervals import pair_identities
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.identity_bootstrap import (
    IdentityPairs,
    bootstrap_by_identity,
    middle,
)

REPLICATES = 1000  # draws of seeds and identities
PAIR = ["first", "second", "is_same"]


@dataclasses.dataclass(frozen=True)
class Gain:
    """A difference of two accuracies; positive: the first loss is better.

    Attributes:
        by_seed: (S,) the difference with each seed, in [-1, 1].
        interval: The middle 95 % of the mean if other seeds and other identities were drawn.
    """

    by_seed: np.ndarray
    interval: Interval

    @property
    def verdict(self) -> str:
        """The significance: 0 is outside of the interval, and every seed has the same sign."""
        if self.interval.low > 0 and self.by_seed.min() > 0:
            return "yes"
        if self.interval.high < 0 and self.by_seed.max() < 0:
            return "no, the other way round"
        return "not significant"

    @property
    def points(self) -> str:
        """The mean in percentage points, and its interval."""
        low, high = 100 * self.interval.low, 100 * self.interval.high
        return f"{100 * self.by_seed.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def accuracy_gain(first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame], seed: int) -> Gain:
    """Return the gain of the first loss over the second.

    The interval draws identities anew, which take their pairs with them (see
    `metrics.identity_bootstrap`), and seeds, as two causes that add up. Where the names of the
    images do not tell the identities, every pair counts as one of its own. Matched and mismatched
    pairs keep their shares, and thresholds are not chosen anew.

    Args:
        first: The pairs.csv of each seed of the first loss.
        second: Those of the second loss, of the same seeds.
        seed: Int. Seed of the bootstrap.

    Raises:
        ValueError: If the tables do not hold the same pairs.

    Example:
        >>> pairs = {"first": ["a", "b"], "second": ["c", "d"], "is_same": [1, 0]}
        >>> right, wrong = (pd.DataFrame({**pairs, "is_correct": [n, n]}) for n in (1, 0))
        >>> accuracy_gain([right], [wrong], seed=0).points
        '+100.00 (+100.00 to +100.00)'
    """
    for table in (*first, *second):
        if not table[PAIR].equals(first[0][PAIR]):
            raise ValueError(
                "All runs must verify the same pairs; choose another --out to repeat them. "
                f"Received: {len(table)} pairs that are not the {len(first[0])} of the first run"
            )
    differences = np.array(
        [
            one["is_correct"].to_numpy(float) - other["is_correct"].to_numpy(float)
            for one, other in zip(first, second, strict=True)
        ]
    )  # (S, P)
    is_same = first[0]["is_same"].to_numpy() == 1
    by_seed, by_pair = differences.mean(axis=1), differences.mean(axis=0)
    rng = np.random.default_rng(seed)
    kinds = [(kind, kind.mean()) for kind in (is_same, ~is_same) if kind.any()]

    def mean_gain(weights: np.ndarray) -> list[float]:
        means = (share * np.average(by_pair[kind], weights=weights[kind]) for kind, share in kinds)
        return [sum(means)]

    drawn = bootstrap_by_identity(mean_gain, _identities(first[0], is_same), REPLICATES, rng)
    deviations = _seed_deviations(by_seed, rng)
    return Gain(by_seed, middle(drawn.by_identity[:, 0] + deviations))


def _identities(table: pd.DataFrame, is_same: np.ndarray) -> IdentityPairs:
    """Return the identities of pairs.csv, as far as the names of the images tell them."""
    first, second = (table[name].astype(str).tolist() for name in ("first", "second"))
    pairs = lfw.Pairs(first, second, is_same, np.ones(len(table), int))
    return (
        pair_identities(pairs) if pairs.share_of_named() == 1 else IdentityPairs.unrelated(is_same)
    )


def _seed_deviations(by_seed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how far the mean over other seeds would be from this one, (REPLICATES,)."""
    count = len(by_seed)
    if count == 1:  # how seeds differ is unknown
        return np.zeros(REPLICATES)
    draws = by_seed[rng.integers(count, size=(REPLICATES, count))].mean(axis=1)
    # A mean of draws from so few deviates too little.
    return (draws - by_seed.mean()) * np.sqrt(count / (count - 1))
