"""Verification metrics from embeddings of pairs, without any network."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.intervals import pair_statistic
from keras_sphereface.evaluation.verification import (
    complete_pairs,
    measure_angles,
    measure_criterion,
    verify_pairs,
)
from keras_sphereface.evaluation.verification_metrics import BootstrapIntervals, Criterion
from keras_sphereface.metrics import roc, separability
from tests.helpers.drawn_pairs import both_keys, draw_embeddings, make_pairs


def without(embeddings, *keys, reason="no such image"):
    rows = [row for row, key in enumerate(embeddings.keys) if key not in keys]
    kept = [embeddings.keys[row] for row in rows]
    return Embeddings(kept, embeddings.views[rows], dict.fromkeys(keys, reason))


def differing(one, other):
    """The names of the fields in which two metrics differ."""
    names = [field.name for field in dataclasses.fields(one)]
    return {name for name in names if getattr(one, name) != getattr(other, name)}


def test_a_pair_is_complete_if_neither_of_its_faces_is_missing():
    pairs = make_pairs(3)
    missing = {pairs.first[0]: "?", pairs.second[5]: "?", "in no pair": "?"}
    expected = [{a, b}.isdisjoint(missing) for a, b in both_keys(pairs)]
    complete = complete_pairs(pairs, missing)
    assert complete.dtype == bool
    assert complete.tolist() == expected
    assert complete_pairs(pairs, {}).all()


def test_no_pair_at_all_is_an_error():
    pairs = make_pairs(3)
    with pytest.raises(ValueError, match=r"Received: 0 pairs, 0 of 0 faces missing$"):
        complete_pairs(pairs.select(np.zeros(len(pairs.first), bool)), {})


def test_a_fold_that_lost_all_its_pairs_is_an_error_that_names_it():
    pairs = make_pairs(3)
    fold = pairs.folds[-1]
    missing = dict.fromkeys(pairs.in_folds([fold]).first, "no landmarks")
    with pytest.raises(ValueError, match=f"^a.txt: Every fold must .*none in fold {fold}, with"):
        complete_pairs(pairs, missing, "a.txt")


@pytest.mark.parametrize(("file", "start"), [("", "^No pair"), ("a/list.txt", "^a/list.txt: No ")])
def test_no_complete_pair_is_an_error_with_the_reason(file, start):
    pairs = make_pairs(3)
    missing = dict.fromkeys(pairs.first, "no landmarks")
    first = next(iter(missing))
    message = (
        f"{start}.*Received: 12 pairs, 6 of 12 faces missing, the first {first}: no landmarks$"
    )
    with pytest.raises(ValueError, match=message):
        complete_pairs(pairs, missing, file)
    embeddings = without(draw_embeddings(3), *pairs.first, reason="no landmarks")
    with pytest.raises(ValueError, match=message):
        verify_pairs(pairs, embeddings, file=file)


@pytest.mark.parametrize(
    ("folds", "missing", "message"),
    [
        ([1], False, "^list.txt: The threshold of a fold .* at least 2 folds"),
        ([1, 2], True, "^list.txt: 2 faces are missing. Every fold .* one kind only in fold 2$"),
    ],
)
def test_pairs_that_do_not_suit_the_protocol_are_an_error_with_the_file(folds, missing, message):
    pairs, embeddings = make_pairs(3).in_folds(folds), draw_embeddings(3)
    if missing:  # all that is matched in fold 2
        embeddings = without(embeddings, "P1/P1_3.jpg", "P1/P1_2.jpg")
    with pytest.raises(ValueError, match=message):
        verify_pairs(pairs, embeddings, file="list.txt")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="best"):
        verify_pairs(make_pairs(3), draw_embeddings(3), "best")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_left_out_pairs_count_in_the_bounds_and_nowhere_else(protocol):
    pairs, embeddings = make_pairs(9), draw_embeddings(9, spread=1.5)
    some_missing = without(embeddings, "P4/P4_0.jpg", "P7/P7_3.jpg")
    incomplete = np.array(
        ["P4/P4_0.jpg" in pair or "P7/P7_3.jpg" in pair for pair in both_keys(pairs)]
    )
    result = verify_pairs(pairs, some_missing, protocol)
    expected = verify_pairs(pairs.select(~incomplete), embeddings, protocol)
    assert result.pairs.first == expected.pairs.first
    # Sums over other blocks are rounded otherwise.
    rounded = {"folds", "threshold_at_far"}
    assert differing(result.metrics, expected.metrics) - rounded == {
        "num_pairs_left_out",
        "missing",
        "accuracy_bounds",
    }
    for one, other in zip(result.metrics.folds, expected.metrics.folds, strict=True):
        assert (one.fold, one.accuracy) == (other.fold, other.accuracy)
        assert one.threshold == pytest.approx(other.threshold)
    count = int(incomplete.sum())
    assert result.metrics.num_pairs_left_out == count
    assert result.metrics.missing == some_missing.missing
    correct = int(result.result.is_correct.sum())
    assert result.metrics.accuracy_bounds == (correct / 36, (correct + count) / 36)
    low, high = expected.metrics.accuracy_bounds
    assert low == high


def test_bounds_of_bad_embeddings_are_between_nothing_and_everything():
    embeddings = without(draw_embeddings(9, spread=50.0), "P0/P0_0.jpg")
    metrics = verify_pairs(make_pairs(9), embeddings).metrics
    low, high = metrics.accuracy_bounds
    assert low < np.mean([fold.accuracy for fold in metrics.folds]) < high


def test_order_and_number_of_the_embeddings_do_not_matter():
    pairs, embeddings = make_pairs(6), draw_embeddings(8)
    order = np.random.default_rng(1).permutation(len(embeddings.keys))
    shuffled = Embeddings([embeddings.keys[i] for i in order], embeddings.views[order], {})
    one, other = (verify_pairs(pairs, e, replicates=9).metrics for e in (embeddings, shuffled))
    assert one == other


def test_the_number_of_views_is_reported():
    embeddings = draw_embeddings(6)
    one_view = embeddings._replace(views=embeddings.views[:, :1])
    assert verify_pairs(make_pairs(6), embeddings).metrics.num_views == 2
    assert verify_pairs(make_pairs(6), one_view).metrics.num_views == 1


def test_the_metrics_are_those_of_the_scores():
    pairs, embeddings = make_pairs(9), draw_embeddings(9, spread=1.5)
    result = verify_pairs(pairs, embeddings, "plain")
    metrics, scores = result.metrics, result.result.scores
    assert result.protocol == "plain"
    assert metrics.auc == pytest.approx(
        np.mean(
            [
                (same > other) + (same == other) / 2
                for same in scores[pairs.is_same]
                for other in scores[~pairs.is_same]
            ]
        )
    )
    accuracies = [fold.accuracy for fold in metrics.folds]
    assert metrics.accuracy_mean == np.mean(accuracies)
    assert metrics.accuracy_std == np.std(accuracies)
    assert metrics.accuracy_standard_error == pytest.approx(np.std(accuracies, ddof=1) / 3**0.5)
    assert (metrics.num_matched, metrics.num_mismatched) == (18, 18)
    accepted = scores >= metrics.threshold_at_far["0.1"]
    assert accepted[~pairs.is_same].sum() <= 1.8
    assert accepted[pairs.is_same].mean() == metrics.tar_at_far["0.1"]


def test_intervals_are_of_the_rates_that_the_pairs_support():
    embeddings = draw_embeddings(9, spread=2.0)
    intervals = verify_pairs(make_pairs(9), embeddings, replicates=20).metrics.intervals
    assert (intervals.replicates, intervals.confidence) == (20, 0.95)
    # 18 mismatched pairs: one of them is more than 5 %.
    assert list(intervals.tar_at_far) == ["0.1"]
    for interval in (intervals.auc, intervals.eer):
        assert 0 <= interval.low <= interval.high <= 1
    assert verify_pairs(make_pairs(9), embeddings).metrics.intervals == BootstrapIntervals(0, 0.95)


def test_many_pairs_support_small_rates():
    rng = np.random.default_rng(0)
    keys = [f"{i}.jpg" for i in range(2400)]
    embeddings = Embeddings(keys, rng.normal(size=(2400, 1, 4)), {})
    pairs = lfw.Pairs(keys[::2], keys[1::2], np.arange(1200) < 100, np.arange(1200) % 4)
    metrics = verify_pairs(pairs, embeddings, replicates=5).metrics
    supported = [f"{far:g}" for far in roc.FARS if far >= 1 / 1100]
    assert supported == ["0.1", "0.01", "0.001"]
    assert list(metrics.intervals.tar_at_far) == supported
    reported = {far for far, rate in metrics.tar_at_far.items() if rate is not None}
    assert reported == set(supported) < set(metrics.tar_at_far)


def test_intervals_depend_on_their_seed_and_nothing_else_does():
    one, same, other = (
        verify_pairs(
            make_pairs(9), draw_embeddings(9, spread=2.0), replicates=20, seed=seed
        ).metrics
        for seed in (3, 3, 4)
    )
    assert one == same
    assert differing(one, other) == {"intervals", "pair_intervals"}


def test_intervals_are_by_identity_where_keys_name_them():
    pairs, embeddings = make_pairs(9), draw_embeddings(9, spread=2.0)
    named = verify_pairs(pairs, embeddings, replicates=50, has_names=True).metrics
    assert named.intervals.resampled == "identities"
    assert named.intervals.num_identities == len(pairs.identities())
    assert named.intervals.accuracy.low <= named.accuracy_mean <= named.intervals.accuracy.high
    assert named.pair_intervals.resampled == "pairs"
    assert named.pair_intervals.accuracy is not None
    unnamed = verify_pairs(pairs, embeddings, replicates=50).metrics
    assert unnamed.intervals == unnamed.pair_intervals
    assert unnamed.intervals.resampled == "pairs"
    assert verify_pairs(pairs, embeddings, has_names=True).metrics.intervals.auc is None


def test_statistic_of_equal_weights_is_the_measures():
    pairs, embeddings = make_pairs(9), draw_embeddings(9, spread=2.0)
    verification = verify_pairs(pairs, embeddings)
    metrics = verification.metrics
    statistic = pair_statistic(verification.result, pairs.is_same, pairs.folds)
    values = dict(zip(statistic.names, statistic.of_weights(np.ones(36)), strict=True))
    assert values == {
        "accuracy": pytest.approx(metrics.accuracy_mean),
        "auc": metrics.auc,
        "eer": metrics.eer,
        "0.1": metrics.tar_at_far["0.1"],
    }


def test_statistic_of_weights_is_that_of_repeated_pairs():
    pairs, embeddings = make_pairs(9), draw_embeddings(9, spread=2.0)
    result = verify_pairs(pairs, embeddings).result
    statistic = pair_statistic(result, pairs.is_same, pairs.folds)
    weights = np.random.default_rng(1).integers(3, size=36)
    places = np.repeat(np.arange(36), weights)
    curve = roc.roc_curve(result.scores[places], pairs.is_same[places])
    values = dict(zip(statistic.names, statistic.of_weights(weights.astype(float)), strict=True))
    assert values["auc"] == pytest.approx(roc.auc_score(curve))
    assert values["eer"] == pytest.approx(roc.equal_error_rate(curve))
    # Of both kinds there are equally many in each fold, and so they count a half.
    kinds = [places[pairs.is_same[places] == kind] for kind in (True, False)]
    halves = [result.is_correct[kind].mean() / 2 for kind in kinds]
    assert values["accuracy"] == pytest.approx(sum(halves))


def degrees(embeddings, a, b):
    one, other = (embeddings.features[embeddings.keys.index(key)].astype(float) for key in (a, b))
    return np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))


def test_with_names_all_images_of_the_pairs_are_compared():
    pairs, embeddings = make_pairs(5, images=6), draw_embeddings(5, images=6)
    angles = measure_angles(pairs, embeddings, has_names=True)
    assert isinstance(angles, separability.ClassAngles)
    used = sorted({*pairs.first, *pairs.second})
    assert len(used) < len(embeddings.keys)  # images in no pair do not count
    both = [(a, b, degrees(embeddings, a, b)) for a in used for b in used if a < b]
    intra = [angle for a, b, angle in both if a[:2] == b[:2]]
    inter = [angle for a, b, angle in both if a[:2] != b[:2]]
    criterion = measure_criterion(angles)
    assert criterion.compared == "identities"
    assert criterion.largest_intra_class_angle == pytest.approx(max(intra))
    assert criterion.smallest_inter_class_angle == pytest.approx(min(inter))
    assert criterion.holds == (max(intra) < min(inter))
    assert criterion.num_identities == criterion.num_identities_with_several_images == 5


def test_without_names_the_pairs_are_compared():
    pairs, embeddings = make_pairs(5), draw_embeddings(5)
    angles = measure_angles(pairs, embeddings, has_names=False)
    assert isinstance(angles, separability.PairAngles)
    by_pair = np.array([degrees(embeddings, a, b) for a, b in both_keys(pairs)])
    assert measure_criterion(angles) == Criterion(
        "pairs",
        largest_intra_class_angle=pytest.approx(by_pair[pairs.is_same].max()),
        smallest_inter_class_angle=pytest.approx(by_pair[~pairs.is_same].min()),
        holds=angles.criterion_holds,
    )


def test_names_without_a_second_image_of_any_identity_leave_the_pairs():
    # The only image of each identity is matched with itself.
    keys = ["P0/P0_0.jpg", "P1/P1_0.jpg"]
    pairs = lfw.Pairs([keys[0], keys[0]], [keys[0], keys[1]], np.array([True, False]), np.ones(2))
    angles = measure_angles(pairs, draw_embeddings(2), has_names=True)
    assert isinstance(angles, separability.PairAngles)
    assert angles.largest_intra == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("spread", [0.01, 3.0])
def test_the_criterion_holds_if_identities_are_apart(spread):
    angles = measure_angles(make_pairs(5), draw_embeddings(5, spread=spread), has_names=True)
    criterion = measure_criterion(angles)
    assert criterion.holds is (spread == 0.01)
    assert (criterion.share_of_identities == 1) is (spread == 0.01)


def test_identities_with_one_image_are_counted_apart():
    pairs = make_pairs(4)
    others = {f"P3/P3_{i}.jpg" for i in (1, 2, 3)}
    kept = np.array([others.isdisjoint(pair) for pair in both_keys(pairs)])
    angles = measure_angles(pairs.select(kept), draw_embeddings(4), has_names=True)
    criterion = measure_criterion(angles)
    assert criterion.num_identities == 4
    assert criterion.num_identities_with_several_images == 3
