from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from keras_sphereface.metrics import roc

SIDE = st.lists(st.integers(0, 5), min_size=1, max_size=20)
# How often each of six scores counts as a matched and as a mismatched pair.
COUNTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=6, max_size=6)


def scored(same, different):
    scores = np.array(same + different, float)
    return scores, np.arange(len(scores)) < len(same)


def rate_from(scores, threshold):
    return Fraction(sum(score >= threshold for score in scores), len(scores))


def best_within(same, different, far):
    """The lowest cut, of all that are tried, that accepts at most `far` of the different."""
    cuts = [np.inf, *sorted({*same, *different}, reverse=True)]
    return [cut for cut in cuts if rate_from(different, cut) <= far][-1]


@given(SIDE, SIDE)
def test_auc_is_how_often_a_matched_pair_scores_higher(same, different):
    wins = [1.0 if s > d else 0.5 if s == d else 0.0 for s in same for d in different]
    curve = roc.roc_curve(*scored(same, different))
    assert roc.auc_score(curve) == pytest.approx(np.mean(wins))


@given(SIDE, SIDE)
def test_scikit_learn_has_the_same_roc_and_auc(same, different):
    scores, is_same = scored(same, different)
    curve = roc.roc_curve(scores, is_same)
    far, tar, thresholds = sklearn_metrics.roc_curve(is_same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    expected = sklearn_metrics.roc_auc_score(is_same, scores)
    assert roc.auc_score(curve) == pytest.approx(expected)


@given(SIDE, SIDE)
def test_the_equal_error_rate_is_where_scikit_learns_det_curve_crosses_the_diagonal(
    same, different
):
    scores, is_same = scored(same, different)
    far, frr, _ = sklearn_metrics.det_curve(is_same, scores)  # far falls, frr rises
    # Its ends may be missing: all accepted, all rejected.
    far, frr = np.concatenate([[1], far, [0]]), np.concatenate([[0], frr, [1]])
    error = roc.equal_error_rate(roc.roc_curve(scores, is_same))
    crossed = int(np.argmax(frr >= far - 1e-12))
    # On the straight line between the last point before the diagonal and the first behind it.
    step = (far - frr)[crossed - 1] - (far - frr)[crossed]
    weight = (far - frr)[crossed - 1] / step
    expected = far[crossed - 1] + weight * (far[crossed] - far[crossed - 1])
    assert error == pytest.approx(expected, abs=1e-9)


@given(SIDE, SIDE)
def test_a_point_of_the_roc_is_the_decision_at_its_threshold(same, different):
    curve = roc.roc_curve(*scored(same, different))
    assert curve.thresholds.tolist() == [np.inf, *sorted({*same, *different}, reverse=True)]
    for far, tar, threshold in zip(curve.far, curve.tar, curve.thresholds, strict=True):
        assert tar == pytest.approx(float(rate_from(same, threshold)))
        assert far == pytest.approx(float(rate_from(different, threshold)))


@given(COUNTS)
def test_a_roc_of_counts_is_that_of_the_pairs_written_out(counts):
    counts = np.array([(1, 1), *counts])
    ranked = np.array([9, 5, 5, 4, 3, 2, 2])
    same, different = (np.repeat(ranked, side).tolist() for side in counts.T)
    counted = roc.weighted_roc_curve(ranked, *counts.T)
    expected = roc.roc_curve(*scored(same, different))
    # A score that counts nowhere repeats the point before it.
    np.testing.assert_array_equal(counted.thresholds, [np.inf, 9, 5, 4, 3, 2])
    for threshold, far, tar in zip(counted.thresholds, counted.far, counted.tar, strict=True):
        point = np.flatnonzero(expected.thresholds >= threshold)[-1]
        assert (far, tar) == (expected.far[point], expected.tar[point])
    assert roc.auc_score(counted) == pytest.approx(roc.auc_score(expected))
    assert roc.equal_error_rate(counted) == pytest.approx(roc.equal_error_rate(expected))
    for far in (0.0, 0.1, 0.5, 1.0):
        measured = [roc.tar_at_far(curve, far) for curve in (counted, expected)]
        assert measured[0] == measured[1]


def test_rates_of_a_small_case():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    is_same = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
    curve = roc.roc_curve(scores, is_same)
    assert roc.tar_at_far(curve, 0.0) == 0.5
    assert roc.threshold_at_far(curve, 0.0) == 0.8
    assert roc.tar_at_far(curve, 0.24) == 0.5
    assert roc.threshold_at_far(curve, 0.24) == 0.8
    assert roc.tar_at_far(curve, 0.25) == 1.0
    assert roc.threshold_at_far(curve, 0.25) == 0.5
    assert roc.equal_error_rate(curve) == 0.25


@given(SIDE, SIDE, st.integers(0, 20))
def test_tar_and_threshold_at_far_are_those_of_all_cuts(same, different, count):
    # A rate that a count of pairs meets exactly, but for the last bit.
    far = min(Fraction(count, len(different)), Fraction(1))
    curve = roc.roc_curve(*scored(same, different))
    cut = best_within(same, different, far)
    assert roc.tar_at_far(curve, float(far)) == float(rate_from(same, cut))
    assert roc.threshold_at_far(curve, float(far)) == (cut if cut < np.inf else None)


def test_no_threshold_where_the_best_pair_is_mismatched():
    curve = roc.roc_curve(*scored([0.5, 0.9], [0.1, 0.9]))
    assert roc.threshold_at_far(curve, 0.49) is None
    assert roc.tar_at_far(curve, 0.49) == 0.0
    assert roc.threshold_at_far(curve, 0.5) == 0.5


def test_equal_error_of_perfect_and_of_useless_scores():
    is_same = np.array([True, True, False, False])
    assert roc.equal_error_rate(roc.roc_curve(np.array([4, 3, 2, 1.0]), is_same)) == 0
    assert roc.equal_error_rate(roc.roc_curve(np.ones(4), is_same)) == 0.5


@given(SIDE, SIDE)
def test_equal_error_lies_between_the_rates_around_it(same, different):
    error = roc.equal_error_rate(roc.roc_curve(*scored(same, different)))
    cuts = [np.inf, *sorted({*same, *different}, reverse=True)]
    accepted = [float(rate_from(different, cut)) for cut in cuts]
    rejected = [1 - float(rate_from(same, cut)) for cut in cuts]
    crossed = next(i for i in range(len(cuts)) if accepted[i] >= rejected[i] - 1e-12)
    slack = 1e-9
    assert accepted[crossed - 1] - slack <= error <= accepted[crossed] + slack
    assert rejected[crossed] - slack <= error <= rejected[crossed - 1] + slack


@pytest.mark.parametrize("far", roc.FARS)
def test_a_rate_is_measurable_with_enough_pairs_to_allow_one_of_them(far):
    enough = round(1 / far)
    assert roc.is_measurable(far, enough)
    assert not roc.is_measurable(far, enough - 1)


@given(st.integers(1, 10**9))
def test_one_of_n_is_measurable_with_n_pairs(count):
    assert roc.is_measurable(1 / count, count)
    assert not roc.is_measurable(1 / count, count - 1)


def test_a_rate_met_exactly_is_met_for_every_number_of_pairs():
    for count in range(1, 400):
        curve = roc.roc_curve(*scored([1], list(range(2, 2 + count))))
        for accepted in range(0, count, 7):
            threshold = roc.threshold_at_far(curve, accepted * (1 / count))
            assert threshold == (2 + count - accepted if accepted else None)
