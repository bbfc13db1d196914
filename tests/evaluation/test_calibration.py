"""Calibration on some identities, judged on others."""

import numpy as np
import pytest

from keras_sphereface.data.pairs.lfw import Pairs
from keras_sphereface.evaluation.all_pairs_thresholds import ImageFeatures
from keras_sphereface.evaluation.calibration import calibrate_pairs, split_pairs
from keras_sphereface.evaluation.calibration_report import (
    calibration_blocks,
    calibration_sentences,
    calibration_summary,
)
from keras_sphereface.evaluation.intervals import pair_identities
from keras_sphereface.metrics import cllr, fit_linear_calibration, min_cllr
from keras_sphereface.metrics.dyadic import rate_interval


def drawn_pairs(seed=0, num_folds=4, per_fold=60, identities_per_fold=20, shared=False):
    """Pairs of identities that are in one fold each or, if `shared`, in any, and their scores."""
    rng = np.random.default_rng(seed)
    first, second, is_same, folds = [], [], [], []
    for i in range(num_folds * per_fold):
        fold = i % num_folds
        one, other = rng.permutation(identities_per_fold)[:2] + (
            0 if shared else fold * identities_per_fold
        )
        same = i // num_folds % 2 == 0
        first.append(f"p{one}/{i}.jpg")
        second.append(f"p{one if same else other}/x{i}.jpg")
        is_same.append(same)
        folds.append(fold + 1)
    pairs = Pairs(first, second, np.array(is_same), np.array(folds))
    scores = rng.normal(0.1, 0.1, len(first)) + 0.25 * pairs.is_same
    return pairs, scores


def identities_of(pairs, mask):
    return pairs.select(mask).identities()


def test_chosen_folds_are_calibrated_on_and_the_others_judged():
    pairs, scores = drawn_pairs()
    result = calibrate_pairs(scores, pairs, True, calibration_folds=(1, 2)).metrics
    chosen = np.isin(pairs.folds, (1, 2))
    expected = fit_linear_calibration(scores[chosen], pairs.is_same[chosen])
    assert (result.slope, result.offset) == (expected.slope, expected.offset)
    judged = scores[~chosen], pairs.is_same[~chosen]
    assert result.cllr == pytest.approx(cllr(expected.llrs(judged[0]), judged[1]))
    assert result.min_cllr == pytest.approx(min_cllr(*judged))
    assert result.min_cllr < result.cllr < 1
    assert (result.num_calibration_pairs, result.num_judged_pairs) == (120, 120)
    assert result.num_judged_identities == len(identities_of(pairs, ~chosen))
    assert result.identities_are_apart
    assert result.split == "Calibrated on folds 1, 2, tested on the others."


def test_thresholds_come_from_one_side_and_rates_from_the_other():
    pairs, scores = drawn_pairs(per_fold=500)
    result = calibrate_pairs(scores, pairs, True, calibration_folds=(1, 2)).metrics
    # 500 mismatched pairs: one of them is the least that can be allowed.
    assert [one.fmr for one in result.thresholds] == [0.01, 0.005, 0.002]
    point = result.thresholds[0]
    chosen = np.isin(pairs.folds, (1, 2))
    mismatched = np.sort(scores[chosen & ~pairs.is_same])
    # Five of 500 are accepted, and the sixth is not.
    assert mismatched[-6] < point.threshold <= mismatched[-5]
    accepted = scores >= point.threshold
    judged = ~chosen & ~pairs.is_same
    assert point.judged_fmr == accepted[judged].mean()
    assert point.judged_fnmr == (~accepted)[~chosen & pairs.is_same].mean()
    identities = pair_identities(pairs).select(judged)
    assert point.judged_fmr_interval == rate_interval(accepted[judged], identities)
    assert point.threshold_interval is None
    assert point.llr == pytest.approx(result.slope * point.threshold + result.offset)


def test_each_fold_is_judged_by_the_others():
    pairs, scores = drawn_pairs()
    result = calibrate_pairs(scores, pairs, True)
    llrs = np.empty(len(scores))
    for fold in (1, 2, 3, 4):
        inside = pairs.folds == fold
        fitted = fit_linear_calibration(scores[~inside], pairs.is_same[~inside])
        llrs[inside] = fitted.llrs(scores[inside])
    np.testing.assert_allclose(result.llrs, llrs)
    assert result.metrics.num_pairs_dropped == 0
    assert result.final.all()


def test_identities_are_halved_where_folds_share_them():
    pairs, scores = drawn_pairs(shared=True, per_fold=200)
    identities = pair_identities(pairs)
    split = split_pairs(pairs, identities, (), seed=3)
    assert "Each half of the identities" in split.description
    for one in split.splits:
        assert not identities_of(pairs, one.calibration) & identities_of(pairs, one.judged)
    result = calibrate_pairs(scores, pairs, True).metrics
    assert result.num_pairs_dropped > 0
    assert result.num_pairs_dropped + result.num_judged_pairs == 800
    assert f"{result.num_pairs_dropped} pairs are left out: an identity on each side" in " ".join(
        calibration_sentences(result)
    )


def test_an_identity_of_a_judged_fold_is_not_calibrated_on():
    pairs, _ = drawn_pairs()
    pairs.first[0] = pairs.second[0] = "p79/a.jpg"  # of fold 4, in fold 1
    mismatched = np.flatnonzero(~pairs.is_same & (pairs.folds == 2))
    pairs.second[mismatched[0]] = pairs.first[mismatched[1]] = "p78/a.jpg"
    split = split_pairs(pairs, pair_identities(pairs), (1, 2), seed=0)
    (one,) = split.splits
    for place in (0, *mismatched[:2]):
        assert not one.calibration[place]
        assert not one.judged[place]
    assert one.calibration[mismatched[2]]


def test_unknown_identities_are_said():
    pairs, scores = drawn_pairs(shared=True)
    result = calibrate_pairs(scores, pairs, has_names=False, replicates=20).metrics
    assert not result.identities_are_apart
    assert result.num_judged_identities is None
    assert "name no identities, which may be on both sides" in result.split
    assert result.cllr_interval.low < result.cllr < result.cllr_interval.high


def test_intervals_are_drawn_by_identity():
    pairs, scores = drawn_pairs(per_fold=400)
    one, same, other = (
        calibrate_pairs(scores, pairs, True, replicates=100, seed=seed).metrics
        for seed in (0, 0, 1)
    )
    assert one == same != other
    point = one.thresholds[0]
    assert point.threshold_interval.low < point.threshold < point.threshold_interval.high
    assert point.judged_fmr_interval.low < point.judged_fmr < point.judged_fmr_interval.high
    assert one.cllr_interval.low < one.cllr < one.cllr_interval.high


def test_a_side_without_one_kind_is_refused():
    pairs, scores = drawn_pairs()
    one_kind = pairs._replace(is_same=pairs.is_same & (pairs.folds > 1))
    message = "matched and mismatched pairs to calibrate on.*Received: 0 matched"
    with pytest.raises(ValueError, match=message):
        calibrate_pairs(scores, one_kind, False, calibration_folds=(1,))


def test_words_name_the_numbers():
    pairs, scores = drawn_pairs(per_fold=400)
    result = calibrate_pairs(scores, pairs, True, replicates=20).metrics
    sentences = " ".join(calibration_sentences(result))
    assert f"Cllr is {result.cllr:.3f} bits (95 %: " in sentences
    assert "training set" not in sentences
    lines = calibration_summary(result)
    assert lines[1].startswith("  FMR 0.01         threshold 0.")
    assert len(lines) == 2 < len(result.thresholds)  # those between the powers of ten are in files
    assert calibration_summary(None) == []
    assert calibration_blocks(None, None) == []
    header = calibration_blocks(result, None)[2].header
    assert header[:2] == ["wanted FMR", "threshold"]


def drawn_images(pairs, seed=0):
    """Images of all identities of pairs, five each, and so the features of all of their pairs."""
    rng = np.random.default_rng(seed)
    names = np.repeat(sorted(pairs.identities()), 5)
    centers = np.repeat(rng.normal(size=(len(names) // 5, 12)), 5, axis=0)
    return ImageFeatures(centers + rng.normal(size=centers.shape), names)


def test_all_pairs_carry_thresholds_that_the_list_does_not():
    pairs, scores = drawn_pairs()  # 60 mismatched pairs to calibrate on: no rate at all
    images = drawn_images(pairs)
    result = calibrate_pairs(scores, pairs, True, (1, 2), images=images).metrics
    points = {point.fmr: point for point in result.thresholds}
    assert list(points) == [1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4]
    chosen = np.isin(pairs.folds, (1, 2))
    sides = [images.of(identities_of(pairs, mask)) for mask in (chosen, ~chosen)]
    units = [f / np.linalg.norm(f, axis=1, keepdims=True) for f, _ in sides]
    cosines = [(u @ u.T)[np.triu_indices(len(u), 1)] for u in units]
    is_same = [(n[:, None] == n)[np.triu_indices(len(n), 1)] for _, n in sides]
    for fmr, point in points.items():
        over = (cosines[0] >= point.threshold)[~is_same[0]]
        # The cosines are compared in float32: one more or less may be on the threshold.
        assert over.mean() == pytest.approx(fmr, abs=2 / len(over))
        assert point.judged_fmr == pytest.approx(
            (cosines[1] >= point.threshold)[~is_same[1]].mean()
        )
        assert point.judged_fnmr == pytest.approx((cosines[1] < point.threshold)[is_same[1]].mean())
        assert point.judged_fmr_interval.low <= point.judged_fmr <= point.judged_fmr_interval.high
        interval = point.judged_fnmr_interval
        assert interval.low < point.judged_fnmr <= interval.high
        assert point.is_of_all_pairs


def test_all_pairs_are_judged_fold_by_fold_too():
    pairs, scores = drawn_pairs()
    result = calibrate_pairs(scores, pairs, True, images=drawn_images(pairs)).metrics
    points = {point.fmr: point for point in result.thresholds}
    assert 1e-3 in points
    assert points[1e-2].judged_fmr == pytest.approx(1e-2, abs=0.006)
