import numpy as np
import pytest

from keras_sphereface.metrics.identification import dir_at_far, rank_k
from keras_sphereface.metrics.identification.intervals import (
    identification_intervals,
    weighted_dir_at_far,
    weighted_rank_k,
)
from keras_sphereface.metrics.identification.search import SearchResult


def drawn_result(seed=0, num_probes=60, num_mated=40, decimals=1):
    """A search with scores that tie."""
    rng = np.random.default_rng(seed)
    is_mated = rng.permutation(num_probes) < num_mated
    mates = np.round(rng.normal(0.5, 0.3, num_probes), decimals)
    tops = np.round(rng.normal(0.2, 0.3, num_probes), decimals)
    ranks = np.where(mates > tops, 1, rng.integers(2, 9, num_probes))
    return SearchResult(np.where(is_mated, mates, -np.inf), np.where(is_mated, ranks, 0), tops)


def repeated(result, weights):
    places = np.repeat(np.arange(len(weights)), weights)
    return SearchResult(*(column[places] for column in vars(result).values()))


@pytest.mark.parametrize("seed", range(4))
def test_weighted_rates_are_those_of_repeated_probes(seed):
    result = drawn_result(seed)
    for weights in (np.ones(60, int), np.random.default_rng(seed).integers(3, size=60)):
        copies = repeated(result, weights)
        for k in (1, 3):
            expected = rank_k(copies.ranks[copies.ranks > 0], k)
            assert weighted_rank_k(result, k, weights.astype(float)) == pytest.approx(expected)
        for far in (0.5, 0.2, 0.1):
            for rank in (1, 4):
                ours = weighted_dir_at_far(result, far, rank, weights.astype(float))
                assert ours == pytest.approx(dir_at_far(copies, far, rank))


def test_rates_without_probes_are_nan():
    result = drawn_result()
    assert np.isnan(weighted_rank_k(result, 1, (result.ranks == 0).astype(float)))
    for only in (result.ranks == 0, result.ranks > 0):
        assert np.isnan(weighted_dir_at_far(result, 0.5, 1, only.astype(float)))


def test_identities_widen_the_interval_where_they_have_many_probes():
    identities = np.repeat(np.arange(30), 20)
    rng = np.random.default_rng(0)
    is_found = (rng.random(600) < np.repeat(rng.random(30), 20)).astype(float)
    measures = {"rank 1": lambda weights: [weights @ is_found / weights.sum()]}
    both = identification_intervals(identities, measures, 300, np.random.default_rng(1))["rank 1"]
    widths = [interval.high - interval.low for interval in both]
    # Twenty probes of one identity are worth little more than a few.
    expected = np.std(is_found.reshape(30, 20).mean(axis=1), ddof=1) / np.sqrt(30)
    assert widths[0] == pytest.approx(3.92 * expected, rel=0.2)
    assert widths[0] > 2 * widths[1]


def test_without_draws_there_are_no_intervals():
    rng = np.random.default_rng(0)
    assert identification_intervals(np.arange(3), {"one": lambda w: [1.0]}, 0, rng) == {}
    assert identification_intervals(np.arange(3), {}, 9, rng) == {}
