import itertools

import numpy as np
import pytest

from keras_sphereface.metrics import all_pairs
from keras_sphereface.metrics.all_pairs import genuine_scores, impostor_tail, pooled_fmr
from keras_sphereface.metrics.dyadic import rate_interval
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs


def drawn_embeddings(seed=0, num_images=90, num_identities=25):
    rng = np.random.default_rng(seed)
    identities = rng.integers(num_identities, size=num_images)
    centers = rng.normal(size=(num_identities, 6))
    return centers[identities] + rng.normal(size=(num_images, 6)), identities


def all_by_hand(embeddings, identities):
    """Scores and identities of all pairs, matched and mismatched."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    two = list(itertools.combinations(range(len(unit)), 2))
    scores = np.array([unit[a] @ unit[b] for a, b in two])
    first, second = (identities[[pair[side] for pair in two]] for side in (0, 1))
    return scores, IdentityPairs(first, second, identities.max() + 1)


@pytest.mark.parametrize("block", [16, 1024])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_tail_is_that_of_every_pair_by_hand(block, share, monkeypatch):
    monkeypatch.setattr(all_pairs, "BLOCK", block)
    embeddings, identities = drawn_embeddings()
    scores, pairs = all_by_hand(embeddings, identities)
    mismatched = np.sort(scores[~pairs.is_same])[::-1]
    tail = impostor_tail(embeddings, identities, share)
    assert tail.num_pairs == len(mismatched)
    assert len(tail.scores) >= int(share * len(mismatched))
    np.testing.assert_allclose(tail.scores, mismatched[: len(tail.scores)], atol=1e-6)
    assert (tail.first != tail.second).all()


def test_rates_and_intervals_are_those_of_every_pair_by_hand():
    embeddings, identities = drawn_embeddings(1)
    scores, pairs = all_by_hand(embeddings, identities)
    mismatched = pairs.select(~pairs.is_same)
    tail = impostor_tail(embeddings, identities, share=0.5)
    for threshold in (0.5, 0.7, 0.9):
        accepted = scores[~pairs.is_same] >= threshold
        assert tail.fmr(threshold) == accepted.mean()
        interval, expected = tail.fmr_interval(threshold), rate_interval(accepted, mismatched)
        assert interval.low == pytest.approx(expected.low)
        assert interval.high == pytest.approx(expected.high)


@pytest.mark.parametrize("num_identities", [2, 3, 25])
def test_the_rate_over_sets_is_that_of_all_their_pairs_by_hand(num_identities):
    sets = [drawn_embeddings(seed, 40, num_identities) for seed in range(5)]
    thresholds = np.linspace(0.5, 0.9, 5)
    accepted, first, second = [], [], []
    for number, ((embeddings, identities), threshold) in enumerate(
        zip(sets, thresholds, strict=True)
    ):
        scores, pairs = all_by_hand(embeddings, identities)
        accepted.append(scores[~pairs.is_same] >= threshold)
        mismatched = pairs.select(~pairs.is_same)
        first.append(mismatched.first + number * num_identities)
        second.append(mismatched.second + number * num_identities)
    joined = [np.concatenate(of_sets) for of_sets in (accepted, first, second)]
    expected = rate_interval(joined[0], IdentityPairs(*joined[1:], 5 * num_identities))
    tails = [impostor_tail(*one, share=1.0) for one in sets]
    rate, interval = pooled_fmr(tails, thresholds)
    assert rate == joined[0].mean()
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_two_identities_tell_next_to_nothing_of_a_rate():
    embeddings, identities = drawn_embeddings(6, 40, 2)
    tail = impostor_tail(embeddings, identities, share=1.0)
    interval = tail.fmr_interval(tail.threshold(0.1))
    assert interval.low < 0.02
    assert interval.high > 0.7


def test_thresholds_allow_as_many_as_their_rate():
    embeddings, identities = drawn_embeddings(2)
    tail = impostor_tail(embeddings, identities, share=0.5)
    for fmr in (0.2, 0.01, 0.001):
        threshold = tail.threshold(fmr)
        allowed = int(fmr * tail.num_pairs)
        assert tail.fmr(threshold) == allowed / tail.num_pairs
        assert tail.scores[allowed] < threshold <= tail.scores[allowed - 1]
    assert tail.threshold(1e-6) is None
    assert tail.threshold(0.9) is None
    interval = tail.threshold_interval(0.05)
    assert interval.low < tail.threshold(0.05) < interval.high
    assert tail.threshold_interval(1.5 / tail.num_pairs).high == 1.0
    narrow = impostor_tail(embeddings, identities, share=0.01)
    assert narrow.threshold_interval(len(narrow.scores) / narrow.num_pairs - 1e-3).low == -1.0


def test_a_threshold_below_what_was_kept_is_refused():
    embeddings, identities = drawn_embeddings(3)
    tail = impostor_tail(embeddings, identities, share=0.05)
    with pytest.raises(ValueError, match=r"lowest of the kept scores\. Received: threshold=-0\.5"):
        tail.fmr(-0.5)
    whole = impostor_tail(embeddings, identities, share=1.0)
    assert whole.fmr(-1.0) == 1.0


def test_the_tail_is_found_where_the_guess_is_too_high(monkeypatch):
    embeddings, identities = drawn_embeddings(4)
    expected = impostor_tail(embeddings, identities, 0.1)
    monkeypatch.setattr(all_pairs, "_guessed_floor", lambda *_: 1.5)
    tail = impostor_tail(embeddings, identities, 0.1)
    assert len(tail.scores) >= int(0.1 * tail.num_pairs)
    least = min(len(tail.scores), len(expected.scores))
    np.testing.assert_array_equal(tail.scores[:least], expected.scores[:least])


def test_matched_pairs_are_all_of_each_identity():
    embeddings, identities = drawn_embeddings(5)
    scores, pairs = all_by_hand(embeddings, identities)
    ours, of_identities = genuine_scores(embeddings, identities)
    np.testing.assert_allclose(np.sort(ours), np.sort(scores[pairs.is_same]), atol=1e-6)
    assert np.bincount(of_identities.first).sum() == pairs.is_same.sum()


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="1 of them different"):
        impostor_tail(np.eye(3), np.array(["a", "a", "a"]))
    with pytest.raises(ValueError, match="3 embeddings, 2 identities"):
        impostor_tail(np.eye(3), np.array(["a", "b"]))
    with pytest.raises(ValueError, match=r"in \(0, 1\]. Received: share=0"):
        impostor_tail(np.eye(3), np.array(["a", "b", "c"]), share=0)
