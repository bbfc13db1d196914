"""Bootstrap intervals of identification rates, by identity and by probe.

Each draw takes as many identities as there are among the probes, with replacement, and each with
all of its probes. That keeps what makes an identity easy or hard, its images in the gallery
included, together. The other identities of the gallery stay: the rates are those of this gallery.
"""

from collections.abc import Mapping

import numpy as np

from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.identification.search import SearchResult
from keras_sphereface.metrics.identity_bootstrap import (
    IdentityPairs,
    Statistic,
    bootstrap_by_identity,
)


def weighted_rank_k(result: SearchResult, k: int, weights: np.ndarray) -> float:
    """Return the identification rate at rank k of mated probes that count any number of times.

    Args:
        result: A search.
        k: Int. Rank, from 1.
        weights: (P,) how often each probe counts.

    Returns:
        The rate, 0 to 1; nan if no mated probe counts.

    Example:
        >>> result = SearchResult(np.zeros(3), np.array([1, 2, 0]), np.zeros(3))
        >>> weighted_rank_k(result, 1, np.array([1.0, 3.0, 1.0]))
        0.25
    """
    total = weights[result.ranks > 0].sum()
    found = weights[(result.ranks > 0) & (result.ranks <= k)].sum()
    return float(found / total) if total else float("nan")


def weighted_dir_at_far(result: SearchResult, far: float, rank: int, weights: np.ndarray) -> float:
    """Return `dir_at_far` of probes that count any number of times.

    The threshold is chosen anew, so that weighted false alarms are at most `far`.

    Args:
        result: A search with mated and non-mated probes.
        far: Float in (0, 1]. False alarm rate.
        rank: Int. Largest rank of a mate that is identified.
        weights: (P,) how often each probe counts.

    Returns:
        The rate, 0 to 1; nan if no mated or no non-mated probe counts.

    Example:
        >>> result = SearchResult(np.array([0.8, 0.3, -1]), np.array([1, 1, 0]), np.full(3, 0.5))
        >>> weighted_dir_at_far(result, 0.1, 1, np.ones(3))
        0.5
    """
    is_mated = result.ranks > 0
    alarms, counts = result.top_nonmate_scores[~is_mated], weights[~is_mated]
    total, num_alarms = weights[is_mated].sum(), counts.sum()
    if not total or not num_alarms:
        return float("nan")
    order = np.argsort(-alarms, kind="stable")
    rates = np.cumsum(counts[order]) / num_alarms
    # The first alarm that is one too many: scores must be above it.
    over = int(np.searchsorted(rates, far * (1 + 1e-12), side="right"))
    limit = alarms[order][over] if over < len(alarms) else -np.inf
    is_found = is_mated & (result.ranks <= rank) & (result.mate_scores > limit)
    return float(weights[is_found].sum() / total)


def identification_intervals(
    probe_identities: np.ndarray,
    measures: Mapping[str, Statistic],
    replicates: int,
    rng: np.random.Generator,
) -> dict[str, tuple[Interval, Interval]]:
    """Return 95 % intervals of rates of probes.

    Args:
        probe_identities: (P,) identity of each probe, integers or strings.
        measures: {name: function from how often each probe counts, (P,), to a rate in a list}.
        replicates: Int. Number of draws; 0: no intervals, an empty result.
        rng: Source of the draws.

    Returns:
        {name: (interval by identity, interval that takes probes for independent)}.

    Example:
        >>> found = np.array([1.0, 1.0, 0.0, 1.0])
        >>> intervals = identification_intervals(
        ...     np.array(["a", "a", "b", "c"]), {"rank 1": lambda w: [w @ found / w.sum()]}, 50,
        ...     np.random.default_rng(0))
        >>> intervals["rank 1"][0].low < 0.75 < intervals["rank 1"][0].high
        True
    """
    if replicates == 0 or not measures:
        return {}
    names = np.asarray(probe_identities).tolist()
    pairs = IdentityPairs.from_names(names, names)

    def statistic(weights: np.ndarray) -> list[float]:
        return [float(measure(weights)[0]) for measure in measures.values()]

    drawn = bootstrap_by_identity(statistic, pairs, replicates, rng)
    return {
        name: (drawn.rate_interval(i), drawn.pair_interval(i)) for i, name in enumerate(measures)
    }
