import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface import verification


def accuracy_by_counting(scores, is_same, threshold):
    right = 0
    for score, same in zip(scores, is_same, strict=True):
        right += (score > threshold) if same else (score < threshold)
    return right / len(scores)


def protocol_by_brute_force(first, second, is_same, folds):
    """The authors' steps, one pair and one threshold at a time."""
    accuracies, thresholds = [], []
    for fold in sorted(set(folds)):
        others = [i for i in range(len(folds)) if folds[i] != fold]
        mean = np.mean([side[i] for i in others for side in (first, second)], axis=0)
        scores = []
        for a, b in zip(first, second, strict=True):
            a, b = a - mean, b - mean
            scores.append(a @ b / np.sqrt((a @ a) * (b @ b)))
        scores = np.array(scores)
        best, reached = 0.0, []
        for step in range(20001):
            threshold = (step - 10000) / 10000
            accuracy = accuracy_by_counting(scores[others], is_same[others], threshold)
            if accuracy > best:
                best, reached = accuracy, []
            if accuracy == best:
                reached.append(threshold)
        thresholds.append(np.mean(reached))
        held_out = folds == fold
        accuracies.append(accuracy_by_counting(scores[held_out], is_same[held_out], thresholds[-1]))
    return accuracies, thresholds


def drawn_pairs(seed, num_pairs, num_folds, size=4):
    rng = np.random.default_rng(seed)
    is_same = np.arange(num_pairs) % 2 == 0
    first = rng.normal(size=(num_pairs, size)) + 0.5
    second = np.where(is_same[:, None], first, 0.5) + rng.normal(size=(num_pairs, size))
    return first, second, is_same, np.arange(num_pairs) * num_folds // num_pairs


@pytest.mark.parametrize(("num_pairs", "num_folds"), [(20, 2), (36, 3), (40, 10)])
def test_the_protocol_matches_brute_force_to_the_digit(num_pairs, num_folds):
    data = drawn_pairs(num_pairs, num_pairs, num_folds)
    results = verification.k_fold_accuracy(*data)
    accuracies, thresholds = protocol_by_brute_force(*data)
    assert [result.accuracy for result in results] == accuracies
    np.testing.assert_allclose([r.threshold for r in results], thresholds, atol=1e-12)


def test_the_threshold_of_a_fold_does_not_see_that_fold():
    first, second, is_same, folds = drawn_pairs(0, 40, 2)
    before = verification.k_fold_accuracy(first, second, is_same, folds)[0]
    changed = np.where((folds == 0)[:, None], -second, second)
    after = verification.k_fold_accuracy(first, changed, is_same, folds)[0]
    assert after.threshold == before.threshold
    assert after.accuracy != before.accuracy


def test_a_score_on_the_threshold_is_wrong_either_way():
    scores, is_same = np.array([0.5, 0.5]), np.array([True, False])
    assert verification.accuracies(scores, is_same, 0.5) == 0.0


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=30),
    st.integers(-10, 10),
)
def test_accuracies_count_as_one_would_by_hand(pairs, threshold):
    scores, is_same = (np.array(side) for side in zip(*pairs, strict=True))
    expected = accuracy_by_counting(scores, is_same, threshold)
    assert verification.accuracies(scores, is_same, threshold) == pytest.approx(expected)


def test_zero_features_score_0():
    zero, one = np.zeros((1, 3)), np.ones((1, 3))
    np.testing.assert_array_equal(verification.cosine_scores(zero, one), [0.0])


@given(st.lists(st.integers(0, 5), min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_auc_is_how_often_a_matched_pair_scores_higher(same, different):
    scores = np.array(same + different, float)
    is_same = np.arange(len(scores)) < len(same)
    wins = [1.0 if s > d else 0.5 if s == d else 0.0 for s in same for d in different]
    curve = verification.roc(scores, is_same)
    assert verification.auc_score(curve) == pytest.approx(np.mean(wins))


def test_rates_of_a_known_case():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    is_same = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
    curve = verification.roc(scores, is_same)
    assert verification.tar_at_far(curve, 0.0) == 0.5
    assert verification.tar_at_far(curve, 0.24) == 0.5
    assert verification.tar_at_far(curve, 0.25) == 1.0
    assert verification.equal_error(curve) == 0.25


def test_equal_error_of_perfect_and_of_useless_scores():
    is_same = np.array([True, True, False, False])
    assert verification.equal_error(verification.roc(np.array([4, 3, 2, 1.0]), is_same)) == 0
    assert verification.equal_error(verification.roc(np.ones(4), is_same)) == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b, s, f: (a, b, s, 0 * f), r"at least 2 folds .* Received: folds=\[0\]"),
        (lambda a, b, s, f: (a, b, f == 0, f), "one kind only in fold 0"),
        (lambda a, b, s, f: (a[1:], b, s, f), r"Received: \{'first': \(19, 4\)"),
        (lambda a, b, s, f: (a * np.nan, b, s, f), "must be finite"),
    ],
)
def test_pairs_that_cannot_be_scored_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        verification.k_fold_accuracy(*change(*drawn_pairs(0, 20, 2)))
