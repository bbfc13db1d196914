"""How far numbers of pairs would move if other pairs had been drawn: bootstrap intervals.

Matched and mismatched pairs are drawn anew with replacement, each as many as there are; of the
results the middle 95 % are the interval (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, section 13.3). Pairs that share a person are not independent, so where a
person is in many pairs the true spread is wider.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from keras_sphereface.progress import progress_bar
from keras_sphereface.verification import Roc, roc_of_counts

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """The middle 95 % of what was drawn."""

    low: float
    high: float


def intervals(
    scores: np.ndarray,
    is_same: np.ndarray,
    measures: Mapping[str, Callable[[Roc], float]],
    replicates: int,
    rng: np.random.Generator,
) -> dict[str, Interval]:
    """The interval of each measure of a ROC.

    Args:
        scores: (P,).
        is_same: (P,) bool, both kinds among them.
        measures: {name: ROC in, number out}.
        replicates: how often pairs are drawn; about 1,000 are usual. With 0 there is nothing to
            tell, and the result is empty.
        rng: draws them.
    """
    if replicates == 0:
        return {}
    order = np.argsort(-scores, kind="stable")
    ranked, same = scores[order], is_same[order]
    drawn = []
    short = len(scores) < 100_000
    for _ in progress_bar(range(replicates), unit="draw", desc="bootstrap", disable=short):
        counts = [_draw(side, rng) for side in (same, ~same)]
        curve = roc_of_counts(ranked, *counts)
        drawn.append([measure(curve) for measure in measures.values()])
    edges = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    lows, highs = np.quantile(np.array(drawn), edges, axis=0)
    return {
        name: Interval(float(low), float(high))
        for name, low, high in zip(measures, lows, highs, strict=True)
    }


def _draw(chosen, rng):
    """(P,) how often each of the chosen pairs was drawn, in as many draws."""
    places = np.flatnonzero(chosen)
    drawn = rng.integers(len(places), size=len(places))
    return np.bincount(places[drawn], minlength=len(chosen))
