"""Rates of groups, against sums and counts written out."""

import itertools

import numpy as np
import pytest

from keras_sphereface.metrics import group_rates
from keras_sphereface.metrics.bootstrap import Interval


def test_gini_is_the_formula_of_howard():
    rates = np.random.default_rng(0).uniform(0.001, 0.1, (4, 5))
    for row, value in zip(rates, group_rates.gini(rates), strict=True):
        total = sum(abs(a - b) for a in row for b in row)
        assert value == pytest.approx(5 / 4 * total / (2 * 5**2 * row.mean()))


@pytest.mark.parametrize("rates", [np.full(4, 0.02), np.zeros(4)], ids=["some", "none"])
def test_equal_rates_do_not_differ(rates):
    assert group_rates.gini(rates) == pytest.approx(0.0)
    assert group_rates.ratio(rates, group_rates.geometric_mean(rates)) == pytest.approx(1.0)


def test_a_group_without_errors_makes_ratios_infinite_and_gini_largest():
    rates = np.array([0.0, 0.03])
    assert np.isinf(group_rates.ratio(rates[1:], rates[:1]))
    assert np.isinf(group_rates.ratio(rates[1:], group_rates.geometric_mean(rates)))
    assert group_rates.gini(rates) == pytest.approx(1.0)


def test_ratios_of_nothing_are_not_numbers():
    some, none = np.array([0.1, np.nan]), np.array([np.nan, 0.1])
    assert np.isnan(group_rates.ratio(some, none)).all()


def test_garbe_weighs_both_rates():
    fmr, fnmr = np.array([0.001, 0.004]), np.array([0.1, 0.1, 0.3])
    expected = 0.3 * group_rates.gini(fmr) + 0.7 * group_rates.gini(fnmr)
    assert group_rates.garbe(fmr, fnmr, alpha=0.3) == pytest.approx(expected)


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    identities = np.concatenate([np.arange(6), rng.integers(0, 6, 14)])
    groups = rng.integers(-1, 3, 20)
    counts = np.concatenate([np.ones((1, 6), int), rng.multinomial(6, np.ones(6) / 6, 4)])
    return identities, groups, counts


def by_hand(pairs, identities, groups, drawn_counts):
    table = np.zeros((3, 3))
    for i, j in pairs:
        a, b = identities[i], identities[j]
        weight = drawn_counts[a] if a == b else drawn_counts[a] * drawn_counts[b]
        g, h = groups[i], groups[j]
        if g >= 0 and h >= 0:
            table[g, h] += weight
            table[h, g] += weight * (g != h)
    return table


def test_comparisons_are_counted_by_group_and_draw():
    identities, groups, counts = drawn()
    pairs = np.array(list(itertools.combinations(range(20), 2)))
    table = group_rates.count_by_groups(pairs, identities, groups, 3, counts)
    for row, drawn_counts in zip(table, counts, strict=True):
        np.testing.assert_array_equal(row, by_hand(pairs, identities, groups, drawn_counts))


def test_all_mismatched_comparisons_are_counted_without_a_list():
    identities, groups, counts = drawn(1)
    pairs = np.array(list(itertools.combinations(range(20), 2)))
    pairs = pairs[identities[pairs[:, 0]] != identities[pairs[:, 1]]]
    np.testing.assert_array_equal(
        group_rates.count_all_mismatched(identities, groups, 3, counts),
        group_rates.count_by_groups(pairs, identities, groups, 3, counts),
    )


def test_intervals_are_the_middle_of_the_draws():
    values = np.append(np.random.default_rng(0).permutation(1000).astype(float), [np.nan] * 5)
    assert group_rates.middle_interval(values) == Interval(24.0, 975.0)
    assert group_rates.middle_interval(np.full(3, np.nan)) is None
    infinite = np.where(values > 900, np.inf, values)
    assert group_rates.middle_interval(infinite) == Interval(24.0, np.inf)


def test_no_error_of_many_trials_bounds_the_rate():
    high = group_rates.no_error_interval(50).high
    assert (1 - high) ** 50 == pytest.approx(0.025)


def test_errors_of_the_same_two_identities_are_squared():
    identities, groups, _ = drawn(2)
    rng = np.random.default_rng(3)
    pairs = rng.integers(0, 20, (200, 2))
    pairs = pairs[identities[pairs[:, 0]] != identities[pairs[:, 1]]]
    counts = {}
    for i, j in pairs:
        # The same two identities may meet in images of several groups.
        dyad = tuple(sorted((identities[i], identities[j])))
        cell = tuple(sorted((groups[i], groups[j])))
        counts[dyad, cell] = counts.get((dyad, cell), 0) + 1
    expected = np.zeros((3, 3))
    for (_, (g, h)), count in counts.items():
        if g >= 0:
            expected[g, h] += count**2
            expected[h, g] += count**2 * (g != h)
    np.testing.assert_array_equal(
        group_rates.squared_errors(pairs, identities, groups, 3), expected
    )


def test_draws_of_independent_comparisons_get_their_own_variance():
    # 200 mismatched comparisons of 400 identities, each in one: one in ten is an error.
    rng = np.random.default_rng(0)
    pairs, is_error = np.arange(400).reshape(200, 2), np.arange(200) % 10 == 0
    counts = np.concatenate(
        [np.ones((1, 400), int), rng.multinomial(400, np.ones(400) / 400, 2000)]
    )
    identities, groups = np.arange(400), np.zeros(400, int)

    def count(chosen):
        return group_rates.count_by_groups(chosen, identities, groups, 1, counts)[:, 0, 0]

    rates = count(pairs[is_error]) / count(pairs)
    independent = 0.1 * 0.9 / 200
    assert rates[1:].var() == pytest.approx(3 * independent, rel=0.2)
    settled = group_rates.contracted(rates, np.array(20 / 200**2))
    assert settled[1:].var() == pytest.approx(independent, rel=0.3)
    assert settled[0] == rates[0]


def test_few_errors_reach_further_up_than_down():
    rng = np.random.default_rng(0)
    rates = np.append(0.01, rng.normal(0.01, 0.004, 4000))
    interval = group_rates.log_odds_interval(np.append(rates, np.nan))
    log_odds = np.log(0.01 / 0.99) + np.array([-1, 1]) * 1.96 * 0.004 / (0.01 * 0.99)
    expected = 1 / (1 + np.exp(-log_odds))
    np.testing.assert_allclose([interval.low, interval.high], expected, rtol=0.03)
    assert interval.high - 0.01 > 0.01 - interval.low
    assert group_rates.log_odds_interval(rates[:1]) is None
