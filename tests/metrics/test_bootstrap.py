import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics import bootstrap, roc
from keras_sphereface.metrics.bootstrap import (
    Interval,
    bootstrap_intervals,
    bootstrap_mean_interval,
)

MEASURES = {
    "auc": roc.auc_score,
    "eer": roc.equal_error_rate,
    "0.1": lambda curve: roc.tar_at_far(curve, 0.1),
}


def drawn_scores(seed, num_same, num_different, apart=1.0):
    rng = np.random.default_rng(seed)
    is_same = rng.permutation(num_same + num_different) < num_same
    return rng.normal(size=len(is_same)) + apart * is_same, is_same


def quantile_by_hand(values, fraction):
    """The value below which this fraction lies, by a line between neighbors."""
    values = sorted(values)
    place = fraction * (len(values) - 1)
    below = min(int(place), len(values) - 2)
    return values[below] + (place - below) * (values[below + 1] - values[below])


@pytest.mark.parametrize("decimals", [0, 9])
def test_intervals_are_those_of_pairs_drawn_and_written_out(decimals):
    scores, is_same = drawn_scores(0, 30, 50)
    scores = np.round(scores, decimals)
    intervals = bootstrap_intervals(scores, is_same, MEASURES, 40, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    falling = np.argsort(-scores, kind="stable")
    sides = [[scores[i] for i in falling if is_same[i] == kind] for kind in (True, False)]
    drawn = {name: [] for name in MEASURES}
    for _ in range(40):
        same, different = (
            [side[i] for i in rng.integers(len(side), size=len(side))] for side in sides
        )
        wins = [1.0 if s > d else 0.5 if s == d else 0.0 for s in same for d in different]
        drawn["auc"].append(np.mean(wins))
        curve = roc.roc_curve(np.array(same + different), np.arange(80) < 30)
        drawn["eer"].append(roc.equal_error_rate(curve))
        # 5 of 50 may be accepted.
        cuts = [c for c in [*same, *different] if sum(d >= c for d in different) <= 5]
        drawn["0.1"].append(max((sum(s >= c for s in same) / 30 for c in cuts), default=0.0))
    for name, values in drawn.items():
        expected = quantile_by_hand(values, 0.025), quantile_by_hand(values, 0.975)
        np.testing.assert_allclose(
            (intervals[name].low, intervals[name].high), expected, atol=1e-12
        )


def test_an_interval_holds_the_value_and_narrows_with_more_pairs():
    widths = []
    for count in (50, 5000):
        scores, is_same = drawn_scores(1, count, count)
        intervals = bootstrap_intervals(scores, is_same, MEASURES, 200, np.random.default_rng(0))
        curve = roc.roc_curve(scores, is_same)
        for name, measure in MEASURES.items():
            assert intervals[name].low < measure(curve) < intervals[name].high
        widths.append(intervals["auc"].high - intervals["auc"].low)
    # By the root of the number of pairs, about.
    assert 5 < widths[0] / widths[1] < 20


def test_perfect_scores_stay_perfect_whatever_is_drawn():
    scores, is_same = np.array([4.0, 3, 2, 1]), np.array([True, True, False, False])
    intervals = bootstrap_intervals(scores, is_same, MEASURES, 50, np.random.default_rng(0))
    assert intervals == {
        "auc": Interval(1.0, 1.0),
        "eer": Interval(0.0, 0.0),
        "0.1": Interval(1.0, 1.0),
    }


def test_equal_scores_stay_useless():
    is_same = np.arange(10) < 5
    intervals = bootstrap_intervals(np.ones(10), is_same, MEASURES, 50, np.random.default_rng(0))
    assert intervals == {
        "auc": Interval(0.5, 0.5),
        "eer": Interval(0.5, 0.5),
        "0.1": Interval(0.0, 0.0),
    }


def test_one_pair_of_each_kind_is_enough():
    intervals = bootstrap_intervals(
        np.array([0.0, 1.0]), np.array([True, False]), MEASURES, 3, np.random.default_rng(0)
    )
    assert intervals["auc"] == Interval(0.0, 0.0)


def test_one_replicate_is_an_interval_without_width():
    intervals = bootstrap_intervals(*drawn_scores(0, 9, 9), MEASURES, 1, np.random.default_rng(0))
    assert intervals["auc"].low == intervals["auc"].high


def test_without_replicates_there_are_no_intervals():
    rng = np.random.default_rng(0)
    assert bootstrap_intervals(*drawn_scores(0, 5, 5), MEASURES, 0, rng) == {}
    assert rng.random() == np.random.default_rng(0).random()


def test_the_same_seed_gives_the_same_intervals():
    data = drawn_scores(2, 40, 60)
    one, again, other = (
        bootstrap_intervals(*data, MEASURES, 20, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert one == again != other


def test_neither_the_order_of_pairs_nor_other_measures_change_an_interval():
    scores, is_same = drawn_scores(3, 40, 60)
    before = bootstrap_intervals(scores, is_same, MEASURES, 20, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(100)
    only = {"auc": roc.auc_score}
    after = bootstrap_intervals(scores[order], is_same[order], only, 20, np.random.default_rng(0))
    assert after == {"auc": before["auc"]}


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_their_level():
    # Of normal scores one deviation apart the area is Phi(1 / sqrt 2).
    truth, covered = 0.7602499389, 0
    for seed in range(100):
        data = drawn_scores(seed, 80, 120)
        intervals = bootstrap_intervals(
            *data, {"auc": roc.auc_score}, 300, np.random.default_rng(seed)
        )
        covered += intervals["auc"].low <= truth <= intervals["auc"].high
    assert 85 <= covered <= 100


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 5)), max_size=40),
    st.floats(0.001, 1),
)
def test_runs_of_mismatched_pairs_change_no_measure(pairs, far):
    scores, is_same, times = (
        np.array(side) for side in zip((5, True, 1), (4, False, 1), *pairs, strict=True)
    )
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(float)
    sides = [np.where(chosen, times, 0)[order] for chosen in (is_same, ~is_same)]
    whole = roc.weighted_roc_curve(ranked, *sides)
    joined = bootstrap.join_mismatched_runs(ranked, *sides)
    assert [side.sum() for side in joined[1]] == [side.sum() for side in sides]
    short = roc.weighted_roc_curve(joined[0], *joined[1])
    assert len(short.far) <= len(whole.far)
    for measure in (roc.auc_score, roc.equal_error_rate):
        assert measure(short) == pytest.approx(measure(whole))
    assert roc.tar_at_far(short, far) == roc.tar_at_far(whole, far)


def test_many_pairs_are_drawn_in_runs_with_the_same_spread(monkeypatch):
    scores, is_same = drawn_scores(3, 200, 3000)
    intervals = bootstrap_intervals(scores, is_same, MEASURES, 800, np.random.default_rng(0))
    monkeypatch.setattr(bootstrap, "MAX_SINGLE_PAIRS", 1000)
    in_runs = bootstrap_intervals(scores, is_same, MEASURES, 800, np.random.default_rng(0))
    for name, single in intervals.items():
        assert in_runs[name] != single  # drawn in another way
        slack = 0.25 * (single.high - single.low)
        assert in_runs[name].low == pytest.approx(single.low, abs=slack)
        assert in_runs[name].high == pytest.approx(single.high, abs=slack)


def test_the_interval_of_a_mean_is_about_two_standard_errors_on_each_side():
    rng = np.random.default_rng(1)
    is_same = rng.random(1000) < 0.5
    values = np.where(is_same, 0.2, 0.6) + rng.normal(size=(1, 1000))
    interval = bootstrap_mean_interval(values, is_same, 2000, rng)
    # Kinds are drawn apart: the distance of their means is no spread.
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 / np.sqrt(1000), rel=0.1)
    assert (interval.low + interval.high) / 2 == pytest.approx(values.mean(), abs=0.01)


def test_the_interval_of_a_mean_has_the_spread_of_runs_that_differ_in_nothing_else():
    rng, is_same = np.random.default_rng(1), np.arange(10) < 5
    assert bootstrap_mean_interval(np.ones((3, 10)), is_same, 5, rng) == Interval(1.0, 1.0)
    values = np.outer([0, 1, 2, 3], np.ones(10))
    interval = bootstrap_mean_interval(values, is_same, 2000, rng)
    expected = 1.96 * np.std([0, 1, 2, 3]) / 2
    assert (interval.high - interval.low) / 2 == pytest.approx(expected, rel=0.15)
