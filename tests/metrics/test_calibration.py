import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from keras_sphereface.metrics.calibration import (
    LinearCalibration,
    cllr,
    fit_isotonic_calibration,
    fit_linear_calibration,
    isotonic_llrs,
    min_cllr,
)


def drawn_scores(seed, num_matched=80, num_mismatched=200, apart=2.0):
    rng = np.random.default_rng(seed)
    is_same = rng.permutation(num_matched + num_mismatched) < num_matched
    return rng.normal(size=len(is_same)) + apart * is_same, is_same


@pytest.mark.parametrize("prior", [0.5, 0.01, 0.9])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_fit_is_the_logistic_regression_of_scikit_learn(prior, scale):
    scores, is_same = drawn_scores(0)
    weights = np.where(is_same, prior / is_same.sum(), (1 - prior) / np.sum(~is_same))
    other = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    other.fit(scores[:, None], is_same, sample_weight=weights * 1e6)
    ours = fit_linear_calibration(scale * scores + 5, is_same, prior)
    expected = scores * other.coef_[0, 0] + other.intercept_[0] - np.log(prior / (1 - prior))
    np.testing.assert_allclose(ours.llrs(scale * scores + 5), expected, atol=1e-5)


def test_fit_finds_the_ratio_of_normal_scores():
    scores, is_same = drawn_scores(1, 60_000, 60_000)
    calibration = fit_linear_calibration(scores, is_same)
    assert calibration.slope == pytest.approx(2, abs=0.05)
    assert calibration.offset == pytest.approx(-2, abs=0.05)
    assert calibration.score_of(0.0) == pytest.approx(1, abs=0.02)


def test_no_other_line_costs_less():
    scores, is_same = drawn_scores(2)
    best = fit_linear_calibration(scores, is_same)
    lowest = cllr(best.llrs(scores), is_same)
    for slope, offset in ((1.01, 0), (0.99, 0), (1, 0.02), (1, -0.02)):
        other = LinearCalibration(best.slope * slope, best.offset + offset)
        assert cllr(other.llrs(scores), is_same) > lowest


def test_scores_that_do_not_overlap_have_a_finite_slope():
    is_same = np.arange(20) < 8
    scores = np.where(is_same, 0.6, 0.1) + 0.001 * np.arange(20)
    calibration = fit_linear_calibration(scores, is_same)
    assert 0 < calibration.slope < 1e3
    llrs = calibration.llrs(scores)
    # With Platt's targets the mean ratio of a kind is about that of its number plus one to one.
    assert np.log(5) < llrs[is_same].mean() < np.log(20)
    assert -np.log(25) < llrs[~is_same].mean() < -np.log(7)
    assert min_cllr(scores, is_same) == 0.0


def test_isotonic_calibration_is_finite_and_rises_and_costs_little_more_than_the_best():
    scores, is_same = drawn_scores(7, 2000, 2000)
    calibration = fit_isotonic_calibration(scores, is_same)
    ratios = calibration.llrs(np.linspace(-9, 9, 50))
    assert np.isfinite(ratios).all()
    assert (np.diff(ratios) >= 0).all()
    lowest = min_cllr(scores, is_same)
    assert lowest < cllr(calibration.llrs(scores), is_same) < lowest + 0.005


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: len({same for _, same in pairs}) == 2
    )
)
def test_isotonic_ratios_are_the_regression_of_scikit_learn(pairs):
    scores, is_same = (np.array(column) for column in zip(*pairs, strict=True))
    weights = np.where(is_same, 1 / is_same.sum(), 1 / np.sum(~is_same))
    other = IsotonicRegression().fit(scores, is_same.astype(float), sample_weight=weights)
    with np.errstate(divide="ignore"):
        share = np.clip(other.predict(scores), 0, 1)
        share = np.where(share > 1 - 1e-9, 1, np.where(share < 1e-9, 0, share))
        expected = np.log(share) - np.log1p(-share)
    np.testing.assert_allclose(isotonic_llrs(scores, is_same), expected, atol=1e-7)


def test_minimum_cost_is_below_that_of_any_rising_function():
    scores, is_same = drawn_scores(3)
    lowest = min_cllr(scores, is_same)
    for rising in (scores, 3 * scores - 2, np.exp(scores) - 3, scores**3):
        assert cllr(rising, is_same) > lowest
    # And it does not change with the scale of the scores.
    assert min_cllr(np.exp(scores), is_same) == pytest.approx(lowest)


def test_cost_of_one_wrong_and_one_right_answer():
    # LR = 3 for both: log2(1 + 1 / 3) and log2(1 + 3).
    value = cllr(np.log([3.0, 3.0]), np.array([True, False]))
    assert value == pytest.approx((np.log2(4 / 3) + 2) / 2)


def test_weights_are_repetitions():
    scores, is_same = drawn_scores(4)
    weights = np.random.default_rng(5).integers(3, size=len(scores))
    places = np.repeat(np.arange(len(scores)), weights)
    assert cllr(scores, is_same, weights) == pytest.approx(cllr(scores[places], is_same[places]))


@pytest.mark.parametrize(
    ("scores", "is_same", "prior", "message"),
    [
        ([0.1, 0.2], [True, True], 0.5, "Received: 2 matched and 0 mismatched"),
        ([0.1, np.nan], [True, False], 0.5, "must be finite"),
        ([0.1, 0.1], [True, False], 0.5, "Received: 2 times 0.1"),
        ([0.1, 0.2], [True, False], 1.0, r"in \(0, 1\)\. Received: prior=1.0"),
        ([0.1, 0.2, 0.3], [True, False], 0.5, r"one shape \(P,\)"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, is_same, prior, message):
    with pytest.raises(ValueError, match=message):
        fit_linear_calibration(np.array(scores), np.array(is_same), prior)


@pytest.mark.filterwarnings("ignore")  # lir imports what it does not need
def test_ratios_and_costs_are_those_of_lir():
    pytest.importorskip("lir.metrics", reason="the extra `dev` has lir")
    from lir import metrics
    from lir.algorithms.logistic_regression import LogitCalibrator
    from lir.data.models import LLRData

    scores, is_same = drawn_scores(6)
    labels = is_same.astype(int)
    calibrator = LogitCalibrator(C=1e9, tol=1e-10, max_iter=10_000).fit(scores, labels)
    llrs = fit_linear_calibration(scores, is_same).llrs(scores)
    # lir takes logarithms to the base 10.
    np.testing.assert_allclose(llrs, np.log(10) * calibrator.transform(scores), atol=1e-3)
    data = LLRData(features=llrs / np.log(10), labels=labels)
    assert cllr(llrs, is_same) == pytest.approx(metrics.cllr(data), rel=1e-9)
    assert min_cllr(llrs, is_same) == pytest.approx(metrics.cllr_min(data), rel=1e-9)
