"""Bootstrap intervals of a verification: by identity where the pairs name them, and by pair."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.verification_metrics import BootstrapIntervals
from keras_sphereface.metrics import bootstrap, roc
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.identity_bootstrap import (
    IdentityBootstrap,
    IdentityPairs,
    bootstrap_by_identity,
)
from keras_sphereface.metrics.protocols import KFoldResult

# Above, a draw of identities takes a second: lists of so many pairs compare templates, and name no
# identities.
MAX_PAIRS_BY_IDENTITY = 1_000_000


class PairStatistic(NamedTuple):
    """The measures of one model as a function of how often each pair counts.

    Attributes:
        names: (M,) "accuracy", "auc", "eer", and a FAR as "0.01" for the true accept rate at it.
        of_weights: Function from weights (P,) to the M measures. For `bootstrap_by_identity`.

    Example:
        >>> PairStatistic._fields
        ('names', 'of_weights')
    """

    names: tuple[str, ...]
    of_weights: Callable[[np.ndarray], list[float]]


def pair_identities(pairs: lfw.Pairs) -> IdentityPairs:
    """Return the identities that the keys of pairs name."""
    return IdentityPairs.from_names(
        *([*map(identity_of_key, s)] for s in (pairs.first, pairs.second))
    )


def pair_statistic(result: KFoldResult, is_same: np.ndarray, folds: np.ndarray) -> PairStatistic:
    """Return the measures of a verification for weighted pairs.

    The accuracy keeps the decisions, and so the thresholds that the folds chose: at the threshold
    that is best the accuracy is flat, and what the choice adds is of second order. Matched and
    mismatched pairs keep their shares, as a protocol fixes them. The other measures choose their
    thresholds anew in every draw.

    Args:
        result: Scores and decisions on P pairs.
        is_same: (P,) bool, True for matched pairs.
        folds: (P,) int, fold of each pair.
    """
    measures = pair_measures(int(np.sum(~is_same)))
    order = np.argsort(-result.scores, kind="stable")
    falling, same, different = result.scores[order], is_same[order], ~is_same[order]
    _, fold, sizes = np.unique(folds, return_inverse=True, return_counts=True)
    shares = 1 / (len(sizes) * sizes[fold])  # of each pair in the mean over folds
    kinds = [(kind, np.sum(shares[kind])) for kind in (is_same, ~is_same)]

    def of_weights(weights: np.ndarray) -> list[float]:
        weighted = weights * shares
        accuracy = sum(
            share * np.sum(weighted[kind & result.is_correct]) / np.sum(weighted[kind])
            for kind, share in kinds
        )
        falling_weights = weights[order]
        curve = roc.weighted_roc_curve(falling, falling_weights * same, falling_weights * different)
        return [float(accuracy), *(measure(curve) for measure in measures.values())]

    return PairStatistic(("accuracy", *measures), of_weights)


def pair_measures(num_mismatched: int) -> dict[str, Callable[[roc.Roc], float]]:
    """Return {name: function of a ROC} of the measures that so many mismatched pairs support."""
    return {
        "auc": roc.auc_score,
        "eer": roc.equal_error_rate,
        **{
            f"{far:g}": functools.partial(roc.tar_at_far, far=far)
            for far in roc.FARS
            if roc.is_measurable(far, num_mismatched)
        },
    }


def verification_intervals(
    result: KFoldResult,
    pairs: lfw.Pairs,
    replicates: int,
    seed: int,
    identities: IdentityPairs | None,
) -> tuple[BootstrapIntervals, BootstrapIntervals]:
    """Return the intervals by identity, and those that take pairs for independent.

    Args:
        result: Scores and decisions on P pairs.
        pairs: The pairs.
        replicates: Int. Number of draws; 0 computes no intervals.
        seed: Int. Seed of the draws.
        identities: Identities of the pairs; None where they are unknown. Then, and with more than
            a million pairs, both are the intervals by pair.
    """
    rng = np.random.default_rng(seed)
    if replicates == 0 or identities is None or len(pairs.first) > MAX_PAIRS_BY_IDENTITY:
        measures = pair_measures(int(np.sum(~pairs.is_same)))
        drawn = bootstrap.bootstrap_intervals(
            result.scores, pairs.is_same, measures, replicates, rng
        )
        by_pair = _named(replicates, drawn)
        return by_pair, by_pair
    statistic = pair_statistic(result, pairs.is_same, pairs.folds)
    draws = bootstrap_by_identity(statistic.of_weights, identities, replicates, rng)
    return (
        _named(replicates, named_intervals(statistic.names, draws.rate_interval), draws),
        _named(replicates, named_intervals(statistic.names, draws.pair_interval)),
    )


def named_intervals(
    names: Sequence[str], interval: Callable[[int], Interval]
) -> dict[str, Interval]:
    """Return {name of a measure: its interval}."""
    return {name: interval(i) for i, name in enumerate(names)}


def _named(
    replicates: int, drawn: dict[str, Interval], draws: IdentityBootstrap | None = None
) -> BootstrapIntervals:
    others = ("accuracy", "auc", "eer")
    return BootstrapIntervals(
        replicates,
        bootstrap.CONFIDENCE,
        drawn.get("auc"),
        drawn.get("eer"),
        {far: interval for far, interval in drawn.items() if far not in others},
        drawn.get("accuracy"),
        "pairs" if draws is None else "identities",
        None if draws is None else draws.num_identities,
    )
