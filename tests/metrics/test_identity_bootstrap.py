import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics import identity_bootstrap, roc
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.dyadic import dyadic_variance
from keras_sphereface.metrics.identity_bootstrap import (
    IdentityPairs,
    bootstrap_by_identity,
    draw_identity_counts,
    pair_weights,
)


def drawn_pairs(seed, num_identities, num_matched, num_mismatched):
    """Identities of pairs, and values that are alike within an identity."""
    rng = np.random.default_rng(seed)
    matched = rng.integers(num_identities, size=num_matched)
    first = rng.integers(num_identities, size=num_mismatched)
    second = (first + rng.integers(1, num_identities, size=num_mismatched)) % num_identities
    first, second = np.append(matched, first), np.append(matched, second)
    effects, own = rng.normal(size=num_identities), rng.normal(size=len(first))
    return IdentityPairs(first, second, num_identities), effects[first] + effects[second] + own


def test_each_draw_is_as_many_identities_as_there_are():
    counts = draw_identity_counts(7, 5000, np.random.default_rng(0))
    assert counts.shape == (5000, 7)
    assert (counts.sum(axis=1) == 7).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(counts.var(axis=0), 1 - 1 / 7, atol=0.08)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1), st.integers(0, 99))
def test_weights_are_the_pairs_of_the_drawn_identities(pairs, seed):
    first, second = np.array(pairs).T
    drawn = np.random.default_rng(seed).integers(5, size=5)
    expected = [
        # A matched pair comes once with each copy of its identity, not with pairs of copies.
        sum(copy == a for copy in drawn)
        if a == b
        else sum(one == a and other == b for one in drawn for other in drawn)
        for a, b in pairs
    ]
    counts = np.bincount(drawn, minlength=5)
    assert pair_weights(counts, first, second).tolist() == expected


def test_names_become_numbers_that_both_sides_share():
    pairs = IdentityPairs.from_names(["bob", "ann", "bob"], ["ann", "ann", "cid"])
    assert pairs.first.tolist() == [1, 0, 1]
    assert pairs.second.tolist() == [0, 0, 2]
    assert pairs.is_same.tolist() == [False, True, False]
    codes, count = IdentityPairs.from_names(["a", "b", "a"], ["b", "a", "a"]).dyads()
    assert count == 2
    assert codes[0] == codes[1] != codes[2]


@pytest.mark.parametrize("kind", ["matched", "mismatched"])
@pytest.mark.parametrize("num_identities", [12, 60, 400])
def test_variance_of_a_mean_is_that_of_dyadic_clusters(num_identities, kind):
    # From dense to sparse: with 12 identities 50 pairs each, with 400 three in two pairs.
    pairs, values = drawn_pairs(1, num_identities, 300, 300)
    mask = pairs.is_same if kind == "matched" else ~pairs.is_same
    chosen, values = pairs.select(mask), values[mask]
    drawn = bootstrap_by_identity(
        lambda weights: [np.average(values, weights=weights)],
        chosen,
        1500,
        np.random.default_rng(2),
    )
    expected = dyadic_variance(values, chosen) * num_identities / (num_identities - 4)
    # The product of counts is of second order too, which shows with few identities.
    tolerance = 0.25 if num_identities == 12 else 0.15
    assert drawn.by_identity.var() == pytest.approx(expected, rel=tolerance)


def test_intervals_are_no_narrower_than_those_of_pairs():
    pairs, values = drawn_pairs(3, 1000, 200, 200)
    independent = np.random.default_rng(4).permutation(values)
    drawn = bootstrap_by_identity(
        lambda weights: [np.average(independent, weights=weights)],
        pairs,
        300,
        np.random.default_rng(5),
    )
    assert drawn.by_identity.var() >= 0.999 * drawn.by_pair.var()


def test_identities_widen_the_interval_where_they_repeat():
    pairs, values = drawn_pairs(6, 20, 300, 300)
    # An identity whose matched pairs score low has high mismatched ones: effects do not cancel.
    scores = np.where(pairs.is_same, 3 - values, values)
    order = np.argsort(-scores)
    falling, is_same = scores[order], pairs.is_same[order]

    def auc(weights):
        of_pairs = weights[order]
        curve = roc.weighted_roc_curve(falling, of_pairs * is_same, of_pairs * ~is_same)
        return [roc.auc_score(curve)]

    drawn = bootstrap_by_identity(auc, pairs, 300, np.random.default_rng(7))
    by_identity, by_pair = drawn.interval(0), drawn.pair_interval(0)
    assert by_identity.high - by_identity.low > 1.5 * (by_pair.high - by_pair.low)
    assert drawn.estimates[0] == roc.auc_score(roc.roc_curve(scores, pairs.is_same))
    assert by_identity.low < drawn.estimates[0] < by_identity.high


def test_the_same_seed_gives_the_same_draws():
    pairs, values = drawn_pairs(8, 30, 40, 40)
    draws = [
        bootstrap_by_identity(lambda w: [w @ values], pairs, 20, np.random.default_rng(9))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(draws[0].by_identity, draws[1].by_identity)


def test_numbers_of_one_statistic_share_their_draws():
    pairs, values = drawn_pairs(10, 30, 40, 40)

    def both_and_difference(weights):
        one, other = weights @ values, weights @ (values + 1e-3 * np.arange(len(values)))
        return [one, other, other - one]

    drawn = bootstrap_by_identity(both_and_difference, pairs, 50, np.random.default_rng(11))
    np.testing.assert_allclose(
        drawn.by_pair[:, 2], drawn.by_pair[:, 1] - drawn.by_pair[:, 0], atol=1e-9
    )
    assert drawn.standard_error(2) < 0.1 * drawn.standard_error(0)


def test_p_value_counts_draws_beyond_zero():
    draws = np.array([[-1.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0]])
    drawn = identity_bootstrap.IdentityBootstrap(np.array([3.0]), draws, draws, 9)
    assert drawn.p_value(0) == pytest.approx(2 * 2 / 10)
    equal = identity_bootstrap.IdentityBootstrap(np.zeros(1), 0 * draws, 0 * draws, 9)
    assert equal.p_value(0) == 1.0


def test_rates_have_intervals_of_their_log_odds():
    draws = np.random.default_rng(0).normal(0.9, 0.03, size=(4000, 1))
    drawn = identity_bootstrap.IdentityBootstrap(np.array([0.9]), draws, draws, 9)
    interval, error = drawn.rate_interval(0), drawn.standard_error(0)
    ends = np.log(np.divide([interval.low, interval.high], [1 - interval.low, 1 - interval.high]))
    np.testing.assert_allclose(ends, np.log(9) + 1.96 * error / 0.09 * np.array([-1, 1]), rtol=1e-4)
    assert drawn.interval(0).low < 0.9 < drawn.interval(0).high
    perfect = identity_bootstrap.IdentityBootstrap(np.ones(1), draws, draws, 9)
    assert perfect.rate_interval(0).high <= 1.0


def test_draws_without_a_number_are_left_out():
    pairs, values = drawn_pairs(12, 6, 6, 6)
    of_group = pairs.first == 0

    def group_mean(weights):
        total = weights[of_group].sum()
        return [weights[of_group] @ values[of_group] / total if total else np.nan, np.nan]

    drawn = bootstrap_by_identity(group_mean, pairs, 100, np.random.default_rng(13))
    assert np.isnan(drawn.by_identity[:, 0]).any()
    assert np.isfinite(drawn.interval(0).low)
    assert np.isnan(drawn.interval(1).low)
    assert np.isnan(drawn.rate_interval(1).low)
    assert np.isfinite(drawn.standard_error(0))


def test_too_few_identities_are_refused():
    pairs = IdentityPairs.from_names(["a", "a"], ["a", "b"])
    # Both identities must be drawn at once, and in half of the draws they are.
    drawn = bootstrap_by_identity(lambda w: [w.sum()], pairs, 5, np.random.default_rng(0))
    assert drawn.num_identities == 2
    with pytest.raises(ValueError, match=r"must be >= 1\. Received: replicates=0"):
        bootstrap_by_identity(lambda w: [0.0], pairs, 0, np.random.default_rng(0))


def test_middle_is_of_quantiles():
    assert identity_bootstrap.middle(np.array([0.0, np.nan, 40.0])) == Interval(
        pytest.approx(1.0), pytest.approx(39.0)
    )
