"""How far numbers of pairs would move if other pairs had been drawn: bootstrap intervals.

Matched and mismatched pairs are drawn anew with replacement, each as many as there are; of the
results the middle 95 % are the interval (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, section 13.3). Pairs that share a person are not independent, so where a
person is in many pairs the true spread is wider.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from keras_sphereface.metrics.roc import Roc, roc_of_counts
from keras_sphereface.utils.progress import progress_bar

CONFIDENCE = 0.95
MANY = 100_000  # pairs, from which on they are drawn in runs


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
    sides = [same.astype(np.int64), (~same).astype(np.int64)]
    if len(scores) > MANY:
        ranked, sides = runs(ranked, *sides)
    drawn = []
    short = len(scores) <= MANY
    for _ in progress_bar(range(replicates), unit="draw", desc="bootstrap", disable=short):
        curve = roc_of_counts(ranked, *(_draw(side, rng) for side in sides))
        drawn.append([measure(curve) for measure in measures.values()])
    edges = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    lows, highs = np.quantile(np.array(drawn), edges, axis=0)
    return {
        name: Interval(float(low), float(high))
        for name, low, high in zip(measures, lows, highs, strict=True)
    }


def mean_interval(
    values: np.ndarray, is_same: np.ndarray, replicates: int, rng: np.random.Generator
) -> Interval:
    """The interval of the mean over runs and pairs, if other runs and other pairs were drawn.

    Args:
        values: (R, P), of each run one value a pair, for example whether it is right about it.
        is_same: (P,) bool, both kinds among them.
        replicates: how often runs and pairs are drawn, >= 1.
        rng: draws them.
    """
    count, sides = len(values), [np.flatnonzero(is_same), np.flatnonzero(~is_same)]
    drawn = np.zeros(replicates)
    for i in range(replicates):
        of_runs = values[rng.integers(count, size=count)].mean(axis=0)
        pairs = [side[rng.integers(len(side), size=len(side))] for side in sides]
        drawn[i] = of_runs[np.concatenate(pairs)].mean()
    low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(float(low), float(high))


def runs(
    ranked: np.ndarray, same: np.ndarray, different: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Mismatched pairs between two matched ones, in one.

    Along such a run the true accept rate stays and the false accept rate rises in a line, so its
    ends tell all: of IJB's 15 million pairs 20 thousand are matched.

    Args:
        ranked: (P,) scores, falling.
        same, different: (P,) how many matched and mismatched pairs have each.

    Returns:
        (R,) scores, falling, and how many matched and mismatched pairs belong to each.
    """
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    ends = np.flatnonzero(last_of_tie)
    counts = [np.diff(np.cumsum(side)[ends], prepend=0) for side in (same, different)]
    is_mixed = counts[0] > 0
    last = np.append(is_mixed[:-1] | is_mixed[1:], True)
    joined = [np.diff(np.cumsum(side)[last], prepend=0) for side in counts]
    return ranked[ends][last], joined


def _draw(counts, rng):
    """How often pairs of each score were drawn, in as many draws as there are pairs."""
    total = int(counts.sum())
    if counts.max() <= 1:  # single pairs: much faster so
        places = np.flatnonzero(counts)
        return np.bincount(places[rng.integers(total, size=total)], minlength=len(counts))
    return rng.multinomial(total, counts / total)
