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
NUM_BAND_POINTS = 60  # of a band around a curve
NO_RATES = np.array([])
Band = tuple[np.ndarray, np.ndarray, np.ndarray]


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


def pair_statistic(
    result: KFoldResult, is_same: np.ndarray, folds: np.ndarray, fmrs: np.ndarray = NO_RATES
) -> PairStatistic:
    """Return the measures of a verification for weighted pairs.

    The accuracy keeps the decisions, and so the thresholds that the folds chose: at the threshold
    that is best the accuracy is flat, and what the choice adds is of second order. Matched and
    mismatched pairs keep their shares, as a protocol fixes them. The other measures choose their
    thresholds anew in every draw.

    Args:
        result: Scores and decisions on P pairs.
        is_same: (P,) bool, True for matched pairs.
        folds: (P,) int, fold of each pair.
        fmrs: (K,) further false match rates, at which `of_weights` returns the true accept rates
            behind the measures that have names: the points of a band around a curve.
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
        values = [float(accuracy), *(measure(curve) for measure in measures.values())]
        return [*values, *roc.tars_at_fars(curve, fmrs).tolist()]

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
) -> tuple[BootstrapIntervals, BootstrapIntervals, Band | None]:
    """Return the intervals by identity, those that take pairs for independent, and a band.

    The band (FMR, lowest TAR, highest TAR), (K,) each, has the intervals by identity along the ROC;
    it is None where there are none.

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
        return by_pair, by_pair, None
    fmrs = np.geomspace(1 / np.sum(~pairs.is_same), 1, NUM_BAND_POINTS)
    statistic = pair_statistic(result, pairs.is_same, pairs.folds, fmrs)
    draws = bootstrap_by_identity(statistic.of_weights, identities, replicates, rng)
    return (
        _named(replicates, named_intervals(statistic.names, draws.rate_interval), draws),
        _named(replicates, named_intervals(statistic.names, draws.pair_interval)),
        _band(fmrs, draws),
    )


def _band(fmrs: np.ndarray, draws: IdentityBootstrap) -> Band:
    """Return the intervals of the last numbers that were drawn, one for each FMR."""
    first = len(draws.estimates) - len(fmrs)
    intervals = [draws.interval(first + i) for i in range(len(fmrs))]
    low, high = (np.array([getattr(one, end) for one in intervals]) for end in ("low", "high"))
    return fmrs, np.clip(low, 0, 1), np.clip(high, 0, 1)


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
