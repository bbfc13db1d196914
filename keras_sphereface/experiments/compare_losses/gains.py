"""The gain in accuracy of one loss over another, on the same pairs and seeds."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from keras_sphereface.metrics.bootstrap import Interval, bootstrap_mean_interval

REPLICATES = 2000  # draws of seeds and pairs
PAIR = ["first", "second", "is_same"]


@dataclasses.dataclass(frozen=True)
class Gain:
    """A difference of two accuracies; positive: the first loss is better.

    Attributes:
        by_seed: (S,) the difference with each seed, in [-1, 1].
        interval: The middle 95 % of the mean if other seeds and other pairs were drawn.
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

    The thresholds of the pairs are not chosen anew for the interval.

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
    rng = np.random.default_rng(seed)
    interval = bootstrap_mean_interval(differences, is_same, REPLICATES, rng)
    return Gain(differences.mean(axis=1), interval)
