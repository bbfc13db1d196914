import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keras_sphereface.metrics import protocols, vectors

NAMES = list(protocols.PROTOCOLS)
# Rows of length 1 or 2, each with its opposite: cosines and distances are exact and tie often, and
# the mean of all is exactly 0.
EXACT = np.array(
    [row for row in itertools.product((-1, 0, 1), repeat=4) if sum(map(abs, row)) in (1, 4)], float
)
COSINES = np.array([(step - 10_000) / 10_000 for step in range(20_001)])


def correct_at_each(scores, is_same, thresholds, says_same, says_different):
    """Count the correct decisions of each threshold, one pair at a time."""
    right = np.zeros(len(thresholds), int)
    for score, same in zip(scores, is_same, strict=True):
        right += says_same(score, thresholds) if same else says_different(score, thresholds)
    return right


def fold_by_fold(is_same, folds, scores_for, choose, says_same, says_different):
    accuracies, thresholds = [], []
    for fold in sorted(set(folds.tolist())):
        others = [i for i in range(len(folds)) if folds[i] != fold]
        scores = np.array(scores_for(others))
        threshold = choose(scores[others], is_same[others])
        held_out = [i for i in range(len(folds)) if folds[i] == fold]
        right = 0
        for i in held_out:
            right += bool((says_same if is_same[i] else says_different)(scores[i], threshold))
        accuracies.append(right / len(held_out))
        thresholds.append(threshold)
    return accuracies, thresholds


def sphereface_by_loops(views, pairs, is_same, folds):
    features = np.array([np.concatenate(list(of_image)) for of_image in views], float)

    def scores_for(others):
        rows = [features[image] for i in others for image in pairs[i]]
        mean = sum(rows) / len(rows)
        scores = []
        for one, two in pairs:
            a, b = features[one] - mean, features[two] - mean
            lengths = np.sqrt((a @ a) * (b @ b))
            scores.append(a @ b / lengths if lengths else 0.0)
        return scores

    def choose(scores, is_same):
        right = correct_at_each(scores, is_same, COSINES, np.greater, np.less)
        return np.mean(COSINES[right == max(right)])

    return fold_by_fold(is_same, folds, scores_for, choose, np.greater, np.less)


def insightface_by_loops(views, pairs, is_same, folds):
    unit = []
    for of_image in views:
        total = sum(view.astype(float) for view in of_image)
        unit.append(total / (math.sqrt(total @ total) or 1.0))
    distances = [sum((x - y) ** 2 for x, y in zip(unit[a], unit[b], strict=True)) for a, b in pairs]

    def choose(distances, is_same):
        tried = np.arange(0, 4, 0.01)
        right = correct_at_each(distances, is_same, tried, np.less, np.greater_equal)
        return tried[np.argmax(right)]

    accuracies, thresholds = fold_by_fold(
        is_same, folds, lambda _: distances, choose, np.less, np.greater_equal
    )
    return accuracies, [-threshold for threshold in thresholds]


def plain_by_loops(views, pairs, is_same, folds):
    first_views = views[:, 0].astype(float)
    scores = []
    for a, b in pairs:
        lengths = [math.sqrt(first_views[row] @ first_views[row]) for row in (a, b)]
        scores.append(first_views[a] / lengths[0] @ (first_views[b] / lengths[1]))

    def choose(scores, is_same):
        # Just above all of them everything is different.
        tried = np.array([*scores, np.nextafter(max(scores), np.inf)])
        right = correct_at_each(scores, is_same, tried, np.greater_equal, np.less)
        return max(tried[right == max(right)])

    return fold_by_fold(is_same, folds, lambda _: scores, choose, np.greater_equal, np.less)


BY_LOOPS = {
    "sphereface": sphereface_by_loops,
    "insightface": insightface_by_loops,
    "plain": plain_by_loops,
}


def drawn_set(seed, num_pairs, num_folds, size=4, num_views=2, num_images=None):
    """Images of identities, in pairs of which many share an image; folds in no order."""
    rng = np.random.default_rng(seed)
    count = num_images or num_pairs
    labels = np.arange(count) // 3
    views = rng.normal(size=(labels[-1] + 1, 1, size))[labels] + 0.5
    views = (views + rng.normal(size=(count, num_views, size))).astype(np.float32)
    is_same = np.arange(num_pairs) % 2 == 0
    first = rng.integers(count // 3 * 3, size=num_pairs)
    neighbor = first // 3 * 3 + (first + 1) % 3
    pairs = np.stack([first, np.where(is_same, neighbor, (first + 3) % count)], axis=1)
    folds = np.repeat(np.arange(num_folds) * 3 - 2, num_pairs // num_folds)
    order = rng.permutation(len(folds) // 2)
    both = np.stack([2 * order, 2 * order + 1], axis=1).ravel()
    return views, pairs[: len(folds)], is_same[: len(folds)], folds[both]


def agrees(name, data):
    result = protocols.k_fold(name, *data)
    accuracies, thresholds = BY_LOOPS[name](*data)
    assert result.accuracies.tolist() == accuracies
    np.testing.assert_allclose(result.thresholds, thresholds, rtol=0, atol=1e-12)
    return result


def assert_equal_results(one, other):
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("num_pairs", "num_folds", "num_views"), [(20, 2, 1), (36, 3, 2), (40, 10, 2), (600, 2, 2)]
)
def test_a_protocol_matches_loops_to_the_digit(name, num_pairs, num_folds, num_views):
    data = drawn_set(num_pairs, num_pairs, num_folds, num_views=num_views)
    agrees(name, data)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 3), st.integers(6, 30))
@settings(max_examples=30)
def test_drawn_sets_match_loops(seed, num_folds, num_views, num_images):
    data = drawn_set(seed, 8 * num_folds, num_folds, 3, num_views, num_images)
    for name in NAMES:
        agrees(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_set_as_large_as_lfw_matches_loops(name):
    data = drawn_set(0, 6000, 10, size=256, num_views=2, num_images=4000)
    assert np.bincount(data[1].ravel()).max() > 3
    data[0][...] += 4 * np.random.default_rng(1).normal(size=data[0].shape)
    assert 0.5 < agrees(name, data).accuracies.mean() < 1.0


INDEX = st.integers(0, len(EXACT) - 1)


@pytest.mark.slow
@given(
    st.lists(st.tuples(INDEX, INDEX, st.booleans()), min_size=20, max_size=20),
    st.sampled_from([2, 3, 5]),
    st.sampled_from(NAMES),
)
def test_ties_match_loops(drawn, num_folds, name):
    # The other folds have 4, 8 or 16 pairs: means of them are exact.
    drawn = drawn[: 4 * num_folds]
    pairs = np.array([entry[:2] for entry in drawn])
    is_same = np.array([entry[2] for entry in drawn])
    folds = np.arange(len(drawn)) // 4
    assume(all(len(set(is_same[folds == fold])) == 2 for fold in folds))
    # The second view is longer, but the sum of both has the direction of the first.
    views = np.stack([EXACT, EXACT * 3], axis=1)
    result = protocols.k_fold(name, views, pairs, is_same, folds)
    accuracies, thresholds = BY_LOOPS[name](views, pairs, is_same, folds)
    assert result.accuracies.tolist() == accuracies
    assert result.thresholds.tolist() == thresholds


def two_folds(same, different):
    """Two equal folds: the matched and the mismatched pairs of these rows."""
    pairs = np.array([*same, *different] * 2)
    is_same = np.array(([True] * len(same) + [False] * len(different)) * 2)
    return pairs, is_same, np.arange(len(pairs)) * 2 // len(pairs)


def test_a_cosine_on_the_threshold_is_wrong_either_way():
    # Cosines to the first: 0.6, a little more, a little less; in steps whose sums are exact.
    near = [np.round(np.array([c, math.sqrt(1 - c * c)]) * 2**20) for c in (0.60005, 0.59995)]
    rows = np.array([[5, 0], [3, 4], *near])
    views = np.stack([rows, -rows], axis=1).reshape(-1, 2)
    same, different = [(0, 4), (1, 5)], [(0, 6), (1, 7)]
    data = two_folds([*same, (0, 2)], [*different, (1, 3)])
    result = protocols.k_fold("sphereface", views[:, None], *data)
    assert result.thresholds.tolist() == [0.6, 0.6]
    assert result.scores[[2, 5]].tolist() == [0.6, 0.6]
    assert result.is_correct[:6].tolist() == [True, True, False] * 2


def test_a_distance_on_the_threshold_is_different():
    views = np.array([[1, 0], [0, 1], [0.0025, 1]])[:, None]
    result = protocols.k_fold("insightface", views, *two_folds([(0, 2)], [(0, 1)]))
    assert result.thresholds.tolist() == [-2.0, -2.0]
    assert result.scores[1] == -2.0
    assert result.is_correct.all()


def test_a_cosine_on_the_plain_threshold_is_the_same():
    views = np.array([[1, 0], [0, 1], [-1, 0]], float)[:, None]
    result = protocols.k_fold("plain", views, *two_folds([(0, 1)], [(0, 2)]))
    assert result.thresholds.tolist() == [0.0, 0.0]
    assert result.is_correct.all()


def test_an_image_that_is_the_mean_of_the_others_scores_0():
    rng = np.random.default_rng(0)
    around = rng.normal(size=(8, 1, 6))
    views = np.concatenate([around, np.mean(around, axis=0)[None]])
    pairs = np.array([(0, 1), (2, 3), (4, 5), (6, 7), (8, 0), (0, 8)])
    is_same = np.array([True, False, True, False, True, False])
    data = views, pairs, is_same, np.array([0, 0, 0, 0, 1, 1])
    result = protocols.k_fold("sphereface", *data)
    np.testing.assert_array_equal(result.scores[4:], [0.0, 0.0])
    assert np.abs(result.scores[:4]).min() > 0.01


@pytest.mark.parametrize("seed", range(10))
def test_an_image_that_equals_all_others_scores_0(seed):
    # Rounding leaves 1e-8 of a feature, in any direction.
    equal, *others = np.random.default_rng(seed).normal(size=(3, 1, 64)).astype(np.float32)
    views = np.stack([equal] * 11 + others)
    pairs = np.array([(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (10, 12)])
    is_same = np.arange(7) % 2 == 0
    result = protocols.k_fold("sphereface", views, pairs, is_same, np.arange(7) // 5)
    np.testing.assert_array_equal(result.scores[5:], [0.0, 0.0])


def test_equal_images_give_a_result():
    views = np.tile(np.array([0.1, -0.7, 1.3], np.float32), (6, 2, 1))
    data = two_folds([(0, 1), (2, 3)], [(4, 5)])
    expected = {"sphereface": 0.0, "insightface": 0.0, "plain": 1.0}
    for name, score in expected.items():
        result = protocols.k_fold(name, views, *data)
        np.testing.assert_allclose(result.scores, score, atol=1e-15)
        # Two of three are matched, so all are taken for the same.
        np.testing.assert_allclose(result.accuracies, 2 / 3)
        assert result.is_correct.tolist() == [True, True, False] * 2


def test_where_more_differ_all_are_different():
    views = np.ones((6, 1, 4), np.float32)
    data = two_folds([(0, 1)], [(2, 3), (4, 5)])
    for name in NAMES:
        result = protocols.k_fold(name, views, *data)
        assert result.is_correct.tolist() == [False, True, True] * 2


def test_mirror_images_that_cancel_have_no_direction():
    views = np.array([[[1, 0], [-1, 0]], [[1, 0], [1, 0]], [[0, 2], [0, 2]]], float)
    result = protocols.k_fold("insightface", views, *two_folds([(0, 1)], [(1, 2)]))
    np.testing.assert_array_equal(result.scores[:2], [-1.0, -2.0])


@pytest.mark.parametrize("name", NAMES)
def test_the_fields_of_a_result_agree(name):
    data = drawn_set(3, 60, 3)
    folds = data[3]
    result = protocols.k_fold(name, *data)
    np.testing.assert_array_equal(result.folds, [-2, 1, 4])
    for fold, threshold, accuracy in zip(
        result.folds, result.thresholds, result.accuracies, strict=True
    ):
        assert np.mean(result.is_correct[folds == fold]) == accuracy
        np.testing.assert_array_equal(result.thresholds_of_pairs(folds)[folds == fold], threshold)
    above = result.scores > result.thresholds_of_pairs(folds)
    off = result.scores != result.thresholds_of_pairs(folds)
    np.testing.assert_array_equal(result.is_correct[off], (above == data[2])[off])


@pytest.mark.parametrize("name", NAMES)
def test_the_threshold_of_a_fold_does_not_see_that_fold(name):
    views, pairs, is_same, folds = drawn_set(0, 60, 3)
    before = protocols.k_fold(name, views, pairs, is_same, folds)
    inside = folds == -2
    # Other images, with the opposite sign.
    changed = np.where(inside[:, None], pairs + len(views), pairs)
    after = protocols.k_fold(name, np.concatenate([views, -views[::-1]]), changed, is_same, folds)
    assert after.thresholds[0] == pytest.approx(before.thresholds[0], abs=1e-12)
    assert np.abs(after.scores - before.scores)[inside].min() > 1e-9
    flipped = protocols.k_fold(name, views, pairs, is_same ^ inside, folds)
    assert flipped.thresholds[0] == before.thresholds[0]
    assert flipped.accuracies[0] == pytest.approx(1 - before.accuracies[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**60])
def test_the_length_of_all_embeddings_changes_nothing(name, scale):
    views, *others = drawn_set(5, 60, 3)
    result = protocols.k_fold(name, views, *others)
    scaled = protocols.k_fold(name, views * np.float32(scale), *others)
    assert_equal_results(result, scaled)


@pytest.mark.parametrize("name", NAMES)
def test_a_rotation_changes_nothing(name):
    views, *others = drawn_set(6, 60, 3)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    result = protocols.k_fold(name, views, *others)
    rotated = protocols.k_fold(name, views.astype(float) @ rotation, *others)
    np.testing.assert_allclose(rotated.scores, result.scores, atol=1e-12)
    np.testing.assert_array_equal(rotated.accuracies, result.accuracies)


@pytest.mark.parametrize(("name", "matters"), [("sphereface", True), ("insightface", False)])
def test_the_length_of_one_image_matters_only_where_a_mean_is_subtracted(name, matters):
    views, *others = drawn_set(7, 60, 3)
    lengths = 2.0 ** np.random.default_rng(0).integers(-3, 4, size=(len(views), 1, 1))
    before = protocols.k_fold(name, views, *others).scores
    after = protocols.k_fold(name, views * lengths, *others).scores
    assert matters == (np.abs(after - before).max() > 1e-9)


@pytest.mark.parametrize(("name", "matters"), [("sphereface", False), ("plain", True)])
def test_a_common_offset_vanishes_only_where_a_mean_is_subtracted(name, matters):
    views, *others = drawn_set(8, 60, 3)
    before = protocols.k_fold(name, views, *others).scores
    after = protocols.k_fold(name, views + 1e5 * np.array([3.0, -2, 1, 5]), *others).scores
    assert matters == (np.abs(after - before).max() > 1e-9)


@pytest.mark.parametrize(("name", "matters"), [("sphereface", 1), ("insightface", 1), ("plain", 0)])
def test_mirror_images_matter_to_all_but_plain(name, matters):
    views, *others = drawn_set(9, 60, 3)
    both = protocols.k_fold(name, views, *others).scores
    one = protocols.k_fold(name, views[:, :1], *others).scores
    assert matters == (np.abs(both - one).max() > 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_neither_the_order_of_pairs_nor_of_their_sides_matters(name):
    views, pairs, is_same, folds = drawn_set(10, 60, 3)
    order = np.random.default_rng(0).permutation(len(pairs))
    before = protocols.k_fold(name, views, pairs, is_same, folds)
    after = protocols.k_fold(name, views, pairs[order, ::-1], is_same[order], folds[order])
    np.testing.assert_allclose(after.scores, before.scores[order], atol=1e-12)
    np.testing.assert_allclose(after.thresholds, before.thresholds, atol=1e-12)
    np.testing.assert_array_equal(after.is_correct, before.is_correct[order])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [1, 7, 60, 61])
def test_the_size_of_blocks_changes_nothing(name, block, monkeypatch):
    data = drawn_set(11, 60, 3)
    before = protocols.k_fold(name, *data)
    monkeypatch.setattr(vectors, "BLOCK", block)
    assert_equal_results(before, protocols.k_fold(name, *data))


def test_the_arrays_of_the_caller_stay_as_they_are():
    data = drawn_set(12, 60, 3)
    copies = [array.copy() for array in data]
    for name in NAMES:
        protocols.k_fold(name, *data)
    for array, copy in zip(data, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_standard_error_is_the_sample_deviation_over_the_root_of_the_folds():
    accuracies = np.array([0.9, 0.92, 0.97])
    mean = sum(accuracies) / 3
    expected = math.sqrt(sum((a - mean) ** 2 for a in accuracies) / 2 / 3)
    assert protocols.standard_error(accuracies) == pytest.approx(expected)


def set_to(views, row, view, value):
    views = views.copy()
    views[row, view] = value
    return views


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, p, s, f: (v, p, s, 0 * f), r"at least 2 folds .* Received: folds=\[0\]"),
        (lambda v, p, s, f: (v, p[:0], s[:0], f[:0]), r"at least 2 folds .* Received: folds=\[\]"),
        (lambda v, p, s, f: (v, p, f > 0, f), "one kind only in fold -2"),
        (lambda v, p, s, f: (v, p, s | (f > 0), f), "one kind only in fold 1"),
        (lambda v, p, s, f: (v[:, 0], p, s, f), r"Expected views .*'views': \(20, 4\)"),
        (lambda v, p, s, f: (v, p[:, :1], s, f), r"Expected views .*'pairs': \(20, 1\)"),
        (lambda v, p, s, f: (v, p[:, 0], s, f), r"Expected views .*'pairs': \(20,\)"),
        (lambda v, p, s, f: (v, p, s[1:], f), r"Expected views .*'is_same': \(19,\)"),
        (lambda v, p, s, f: (v, p, s, f[:, None]), r"Expected views .*'folds': \(20, 1\)"),
        (lambda v, p, s, f: (v[:18], 0 * p + 18, s, f), "rows from 0 to 17. Received: 18 to 18"),
        (lambda v, p, s, f: (v, p - 99, s, f), "rows from 0 to 19. Received: -99 to -8"),
        (lambda v, p, s, f: (set_to(v, 4, 1, 0), p, s, f), "Received: zero for row 4, .* of 1"),
        (lambda v, p, s, f: (set_to(v, 0, 0, np.nan), p, s, f), "Received: nan or infinity .* 0"),
        (lambda v, p, s, f: (set_to(v, 2, 1, -np.inf), p, s, f), "Received: nan or infinity .* 2"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_unsuitable_pairs_are_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        protocols.k_fold(name, *change(*drawn_set(0, 20, 2)))


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    expected = "one of sphereface, insightface, plain. Received: protocol='lfw'"
    with pytest.raises(ValueError, match=expected):
        protocols.k_fold("lfw", *drawn_set(0, 20, 2))


def test_unusable_embeddings_are_named_by_key():
    views = np.ones((3, 1, 2))
    views[1, 0], views[2, 0, 0] = 0, np.inf
    with pytest.raises(ValueError, match=r"Received: zero for b.jpg, the first of 2"):
        protocols.check_embeddings(views, ["a.jpg", "b.jpg", "c.jpg"])
    protocols.check_embeddings(views[:1])
