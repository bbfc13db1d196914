"""All comparisons of a set's images, against a double loop."""

import itertools

import numpy as np
import pytest

from keras_sphereface.metrics import comparisons
from keras_sphereface.metrics.comparisons import compare_all, compare_pairs, num_allowed


def drawn(count=40, identities=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 6)), rng.integers(0, identities, count)


def by_hand(embeddings, labels):
    """{(i, j): (cosine, matched)} of all pairs."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return {
        (i, j): (float(unit[i] @ unit[j]), bool(labels[i] == labels[j]))
        for i, j in itertools.combinations(range(len(unit)), 2)
    }


@pytest.mark.parametrize("block", [1, 7, 512])
@pytest.mark.parametrize("count", [1, 25, 10_000])
def test_the_highest_mismatched_comparisons_are_kept(block, count, monkeypatch):
    monkeypatch.setattr(comparisons, "BLOCK", block)
    embeddings, labels = drawn()
    pairs = by_hand(embeddings, labels)
    matched = {pair: score for pair, (score, same) in pairs.items() if same}
    others = {pair: score for pair, (score, same) in pairs.items() if not same}
    kept = compare_all(embeddings, labels, count)
    assert set(map(tuple, kept.matched)) == set(matched)
    np.testing.assert_allclose(
        kept.matched_scores, [matched[tuple(pair)] for pair in kept.matched], atol=1e-6
    )
    highest = sorted(others, key=others.get, reverse=True)[:count]
    assert list(map(tuple, kept.mismatched)) == highest
    np.testing.assert_allclose(kept.mismatched_scores, [others[p] for p in highest], atol=1e-6)
    assert kept.num_mismatched == len(others)


@pytest.mark.parametrize("fmr", [0.005, 0.01, 0.2, 0.5])
def test_the_threshold_has_the_highest_rate_that_is_allowed(fmr):
    embeddings, labels = drawn()
    kept = compare_all(embeddings, labels, 10_000)
    threshold = kept.threshold_at_fmr(fmr)
    scores, total = kept.mismatched_scores, kept.num_mismatched
    assert np.sum(scores >= threshold) / total <= fmr
    lower = scores[scores < threshold].max()
    assert np.sum(scores >= lower) / total > fmr
    assert len(kept.false_matches(threshold)) == num_allowed(fmr, total)
    np.testing.assert_array_equal(kept.false_nonmatches(threshold), kept.matched_scores < threshold)


def test_equal_scores_are_above_the_threshold_together():
    embeddings = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]])
    kept = compare_all(embeddings, np.arange(5), 10)
    assert kept.threshold_at_fmr(0.3) > 1.0  # six of ten score 1, three are allowed
    assert kept.threshold_at_fmr(0.6) == pytest.approx(0.5)


def test_a_threshold_below_those_kept_is_refused():
    kept = compare_all(*drawn(), 3)
    with pytest.raises(ValueError, match="Received: 3"):
        kept.threshold_at_fmr(0.5)


def test_listed_pairs_are_compared_alone():
    embeddings, labels = drawn()
    pairs = np.random.default_rng(1).integers(0, 40, (60, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    is_same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    kept = compare_pairs(embeddings, pairs, is_same)
    scores = by_hand(embeddings, labels)
    np.testing.assert_array_equal(kept.matched, pairs[is_same])
    expected = [scores[tuple(sorted(pair))][0] for pair in kept.mismatched]
    np.testing.assert_allclose(kept.mismatched_scores, expected, atol=1e-6)
    assert np.all(np.diff(kept.mismatched_scores) <= 0)
    assert kept.num_mismatched == len(kept.mismatched) == np.sum(~is_same)
