"""Intervals of the rates of a search, by the names that tables have for them."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.identification.intervals import (
    identification_intervals,
    weighted_dir_at_far,
    weighted_rank_k,
)
from keras_sphereface.metrics.identification.search import SearchResult
from keras_sphereface.metrics.identity_bootstrap import Statistic


@dataclasses.dataclass(frozen=True)
class ProbeIntervals:
    """95 % intervals of a rate of probes.

    Attributes:
        by_identity: Identities are drawn, each with all of its probes.
        by_probe: Probes are drawn, as if those of an identity had nothing in common.

    Example:
        >>> ProbeIntervals(Interval(0.4, 0.6), Interval(0.45, 0.55)).by_identity.low
        0.4
    """

    by_identity: Interval
    by_probe: Interval


def probe_intervals(
    result: SearchResult,
    probe_identities: np.ndarray,
    ranks: Mapping[str, int],
    alarm_rates: Mapping[str, tuple[float, int]],
    replicates: int,
    seed: int,
) -> dict[str, ProbeIntervals]:
    """Return the intervals of identification rates.

    Args:
        result: A search.
        probe_identities: (P,) identity of each probe.
        ranks: {name: k} of rates at rank k.
        alarm_rates: {name: (false alarm rate, largest rank)} of DIR and TPIR.
        replicates: Int. Number of draws; 0: none.
        seed: Int. Seed of the draws.
    """
    measures: dict[str, Statistic] = {}
    for name, k in ranks.items():
        measures[name] = functools.partial(_in_list, functools.partial(weighted_rank_k, result, k))
    for name, (far, rank) in alarm_rates.items():
        rate = functools.partial(weighted_dir_at_far, result, far, rank)
        measures[name] = functools.partial(_in_list, rate)
    rng = np.random.default_rng(seed)
    drawn = identification_intervals(probe_identities, measures, replicates, rng)
    return {name: ProbeIntervals(*both) for name, both in drawn.items()}


def _in_list(rate: functools.partial, weights: np.ndarray) -> list[float]:
    return [rate(weights)]
