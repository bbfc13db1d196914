"""The numbers of metrics.json from embeddings of pairs, without any network."""

import numpy as np
import pytest

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.verification import (
    angle_metrics,
    complete_pairs,
    measure_angles,
    verify,
)
from keras_sphereface.metrics import protocols, roc, separability


def people(count, images=4, spread=0.5, seed=0):
    """Embeddings of so many images of each person, near the person's own direction."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 1, 2, 8))
    views = directions + spread * rng.normal(size=(count, images, 2, 8))
    keys = [f"P{i}/P{i}_{j}.jpg" for i in range(count) for j in range(images)]
    return Embeddings(keys, views.reshape(-1, 2, 8).astype(np.float32), {})


def some_pairs(count, num_folds=3, images=4):
    """For each person two matched pairs, and two with the next person."""
    rows = []
    for i in range(count):
        own, other = (f"P{j}/P{j}_{{}}.jpg" for j in (i, (i + 1) % count))
        for j in range(2):
            rows.append((own.format(j), own.format(images - 1 - j), True, i % num_folds + 1))
            rows.append((own.format(j), other.format(j), False, i % num_folds + 1))
    first, second, is_same, folds = zip(*rows, strict=True)
    return lfw.Pairs(list(first), list(second), np.array(is_same), np.array(folds))


def gone(embeddings, *keys, reason="no such image"):
    rows = [row for row, key in enumerate(embeddings.keys) if key not in keys]
    kept = [embeddings.keys[row] for row in rows]
    return Embeddings(kept, embeddings.views[rows], dict.fromkeys(keys, reason))


def test_a_pair_is_complete_if_neither_of_its_faces_is_missing():
    pairs = some_pairs(3)
    missing = {pairs.first[0]: "?", pairs.second[5]: "?", "in no pair": "?"}
    expected = [{a, b}.isdisjoint(missing) for a, b in zip(*pairs[:2], strict=True)]
    complete = complete_pairs(pairs, missing)
    assert complete.dtype == bool
    assert complete.tolist() == expected
    assert complete_pairs(pairs, {}).all()


def test_no_pair_at_all_is_an_error():
    pairs = some_pairs(3)
    with pytest.raises(ValueError, match=r"Received: 0 pairs, 0 of 0 faces missing$"):
        complete_pairs(pairs.select(np.zeros(len(pairs.first), bool)), {})


def test_a_fold_that_lost_all_its_pairs_is_an_error_that_names_it():
    pairs = some_pairs(3)
    fold = pairs.folds[-1]
    missing = dict.fromkeys(pairs.in_folds([fold]).first, "no landmarks")
    with pytest.raises(ValueError, match=f"^a.txt: Every fold must .*none in fold {fold}, with"):
        complete_pairs(pairs, missing, "a.txt")


@pytest.mark.parametrize(("file", "start"), [("", "^No pair"), ("a/list.txt", "^a/list.txt: No ")])
def test_no_complete_pair_is_an_error_that_tells_why(file, start):
    pairs = some_pairs(3)
    missing = dict.fromkeys(pairs.first, "no landmarks")
    first = next(iter(missing))
    message = (
        f"{start}.*Received: 12 pairs, 6 of 12 faces missing, the first {first}: no landmarks$"
    )
    with pytest.raises(ValueError, match=message):
        complete_pairs(pairs, missing, file)
    known = gone(people(3), *pairs.first, reason="no landmarks")
    with pytest.raises(ValueError, match=message):
        verify(pairs, known, file=file)


@pytest.mark.parametrize(
    ("chosen", "missing", "message"),
    [
        ([1], False, "^list.txt: The threshold for a fold .* at least 2 folds"),
        ([1, 2], True, "^list.txt: 2 faces are missing. Every fold .* one kind only in fold 2$"),
    ],
)
def test_pairs_that_do_not_suit_the_protocol_are_an_error_with_the_file(chosen, missing, message):
    pairs, known = some_pairs(3).in_folds(chosen), people(3)
    if missing:  # all that is matched in fold 2
        known = gone(known, "P1/P1_3.jpg", "P1/P1_2.jpg")
    with pytest.raises(ValueError, match=message):
        verify(pairs, known, file="list.txt")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="best"):
        verify(some_pairs(3), people(3), "best")


@pytest.mark.parametrize("protocol", list(protocols.PROTOCOLS))
def test_left_out_pairs_count_in_the_bounds_and_nowhere_else(protocol):
    pairs, known = some_pairs(9), people(9, spread=1.5)
    missing = gone(known, "P4/P4_0.jpg", "P7/P7_3.jpg")
    touched = [
        "P4/P4_0.jpg" in pair or "P7/P7_3.jpg" in pair for pair in zip(*pairs[:2], strict=True)
    ]
    found = verify(pairs, missing, protocol)
    without = verify(pairs.select(~np.array(touched)), known, protocol)
    assert found.pairs.first == without.pairs.first
    different = {name for name, value in found.metrics.items() if value != without.metrics[name]}
    # Sums over other blocks are rounded otherwise.
    rounded = {"thresholds", "threshold_at_far"}
    assert different - rounded == {"num_pairs_left_out", "missing", "accuracy_bounds"}
    for one, other in zip(*(v.metrics["thresholds"] for v in (found, without)), strict=True):
        assert one == pytest.approx(other)
    count = sum(touched)
    assert found.metrics["num_pairs_left_out"] == count
    assert found.metrics["missing"] == missing.missing
    right = int(found.verdict.is_correct.sum())
    assert found.metrics["accuracy_bounds"] == [right / 36, (right + count) / 36]
    assert without.metrics["accuracy_bounds"][0] == without.metrics["accuracy_bounds"][1]


def test_bounds_of_bad_embeddings_are_between_nothing_and_everything():
    pairs, known = some_pairs(9), people(9, spread=50.0)
    metrics = verify(pairs, gone(known, "P0/P0_0.jpg")).metrics
    low, high = metrics["accuracy_bounds"]
    assert low < np.mean(metrics["accuracy_per_fold"]) < high


def test_order_and_number_of_the_embeddings_do_not_matter():
    pairs, known = some_pairs(6), people(8)
    order = np.random.default_rng(1).permutation(len(known.keys))
    shuffled = Embeddings([known.keys[i] for i in order], known.views[order], {})
    one, other = (verify(pairs, e, replicates=9).metrics for e in (known, shuffled))
    assert one == other


def test_one_view_is_told():
    known = people(6)
    alone = known._replace(views=known.views[:, :1])
    assert verify(some_pairs(6), known).metrics["num_views"] == 2
    assert verify(some_pairs(6), alone).metrics["num_views"] == 1


def test_the_verification_holds_what_the_numbers_come_from():
    pairs, known = some_pairs(9), people(9, spread=1.5)
    found = verify(pairs, known, "plain")
    assert found.protocol == "plain"
    assert found.metrics["auc"] == pytest.approx(
        np.mean(
            [
                (same > other) + (same == other) / 2
                for same in found.verdict.scores[pairs.is_same]
                for other in found.verdict.scores[~pairs.is_same]
            ]
        )
    )
    assert found.metrics["accuracy_mean"] == np.mean(found.verdict.accuracies)
    assert (found.metrics["num_matched"], found.metrics["num_mismatched"]) == (18, 18)
    at_tenth = found.metrics["threshold_at_far"]["0.1"]
    accepted = found.verdict.scores >= at_tenth
    assert accepted[~pairs.is_same].sum() <= 1.8
    assert accepted[pairs.is_same].mean() == found.metrics["tar_at_far"]["0.1"]


@pytest.mark.parametrize(("replicates", "names"), [(0, set()), (20, {"auc", "eer", "tar_at_far"})])
def test_intervals_are_of_what_the_pairs_carry(replicates, names):
    metrics = verify(some_pairs(9), people(9, spread=2.0), replicates=replicates)
    intervals = metrics.metrics["intervals"]
    assert set(intervals) == names | {"replicates", "confidence"}
    assert intervals["replicates"] == replicates
    if replicates:
        # 18 mismatched pairs: one of them is more than 5 %.
        assert list(intervals["tar_at_far"]) == ["0.1"]
        for name in ("auc", "eer"):
            low, high = intervals[name]
            assert 0 <= low <= high <= 1


def test_intervals_of_many_pairs_are_told_for_small_rates():
    rng = np.random.default_rng(0)
    keys = [f"{i}.jpg" for i in range(2400)]
    known = Embeddings(keys, rng.normal(size=(2400, 1, 4)), {})
    pairs = lfw.Pairs(keys[::2], keys[1::2], np.arange(1200) < 100, np.arange(1200) % 4)
    metrics = verify(pairs, known, replicates=5).metrics
    carried = [f"{far:g}" for far in roc.FARS if far >= 1 / 1100]
    assert carried == ["0.1", "0.01", "0.001"]
    assert list(metrics["intervals"]["tar_at_far"]) == carried
    told = {far for far, rate in metrics["tar_at_far"].items() if rate is not None}
    assert told == set(carried) < set(metrics["tar_at_far"])


def test_intervals_depend_on_their_seed_and_nothing_else_does():
    one, same, other = (
        verify(some_pairs(9), people(9, spread=2.0), replicates=20, seed=seed).metrics
        for seed in (3, 3, 4)
    )
    assert one == same
    assert {name for name in one if one[name] != other[name]} == {"intervals"}


def degrees(known, a, b):
    one, other = (known.features[known.keys.index(key)].astype(float) for key in (a, b))
    return np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))


def test_with_names_all_images_of_the_pairs_are_compared():
    pairs, known = some_pairs(5, images=6), people(5, images=6)
    angles = measure_angles(pairs, known, has_names=True)
    assert isinstance(angles, separability.ClassAngles)
    used = sorted({*pairs.first, *pairs.second})
    assert len(used) < len(known.keys)  # images in no pair are left aside
    both = [(a, b, degrees(known, a, b)) for a in used for b in used if a < b]
    intra = [angle for a, b, angle in both if a[:2] == b[:2]]
    inter = [angle for a, b, angle in both if a[:2] != b[:2]]
    assert angles.largest_intra == pytest.approx(max(intra))
    assert angles.smallest_inter == pytest.approx(min(inter))
    metrics = angle_metrics(angles)
    assert metrics["compared"] == "all images of all people"
    assert metrics["largest_intra_class_angle"] == pytest.approx(max(intra))
    assert metrics["smallest_inter_class_angle"] == pytest.approx(min(inter))
    assert metrics["holds"] == (max(intra) < min(inter))
    assert metrics["num_identities"] == metrics["num_people_with_several_images"] == 5


def test_without_names_the_pairs_are_compared():
    pairs, known = some_pairs(5), people(5)
    angles = measure_angles(pairs, known, has_names=False)
    assert isinstance(angles, separability.PairAngles)
    of_pairs = np.array([degrees(known, a, b) for a, b in zip(*pairs[:2], strict=True)])
    metrics = angle_metrics(angles)
    assert metrics == {
        "compared": "pairs",
        "largest_intra_class_angle": pytest.approx(of_pairs[pairs.is_same].max()),
        "smallest_inter_class_angle": pytest.approx(of_pairs[~pairs.is_same].min()),
        "holds": angles.criterion_holds,
    }


def test_names_without_a_second_image_of_anyone_leave_the_pairs():
    # An image matched with itself is all that there is of each.
    keys = ["P0/P0_0.jpg", "P1/P1_0.jpg"]
    pairs = lfw.Pairs([keys[0], keys[0]], [keys[0], keys[1]], np.array([True, False]), np.ones(2))
    angles = measure_angles(pairs, people(2), has_names=True)
    assert isinstance(angles, separability.PairAngles)
    assert angles.largest_intra == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("spread", [0.01, 3.0])
def test_the_criterion_holds_if_people_are_apart(spread):
    angles = measure_angles(some_pairs(5), people(5, spread=spread), has_names=True)
    metrics = angle_metrics(angles)
    assert metrics["holds"] is (spread == 0.01)
    assert (metrics["share_of_people"] == 1) is (spread == 0.01)


def test_people_with_one_image_are_counted_apart():
    pairs = some_pairs(4)
    others = {f"P3/P3_{i}.jpg" for i in (1, 2, 3)}
    kept = np.array([others.isdisjoint(pair) for pair in zip(*pairs[:2], strict=True)])
    angles = measure_angles(pairs.select(kept), people(4), has_names=True)
    metrics = angle_metrics(angles)
    assert metrics["num_identities"] == 4
    assert metrics["num_people_with_several_images"] == 3
