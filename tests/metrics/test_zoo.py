"""Errors of identities, against counts by hand."""

import numpy as np
import pytest

from keras_sphereface.metrics import zoo
from keras_sphereface.metrics.comparisons import Comparisons, compare_all


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(30), 4)
    directions = rng.normal(size=(30, 1, 6))
    spread = np.where(np.arange(30) == 7, 5.0, 0.1)[:, None, None]  # nobody knows identity 7
    directions[12] = directions[13] + 0.05  # and 12 is taken for 13
    rows = directions + spread * rng.normal(size=(30, 4, 6))
    return rows.reshape(-1, 6), identities


def test_errors_are_counted_for_each_identity():
    rows, identities = drawn()
    comparisons = compare_all(rows, identities, 10_000)
    threshold = comparisons.threshold_at_fmr(0.01)
    errors = zoo.errors_by_identity(comparisons, identities, threshold)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    accepted = unit @ unit.T >= threshold
    same = identities[:, None] == identities
    for i in range(30):
        inside = np.ix_(identities == i, identities == i)
        assert errors.num_matched[i] == 6
        assert errors.num_false_nonmatches[i] == np.sum(np.triu(~accepted[inside], 1))
        assert errors.num_false_matches[i] == np.sum((accepted & ~same)[identities == i])
    assert np.flatnonzero(errors.is_goat).tolist() == [7]
    assert {12, 13} <= set(np.flatnonzero(errors.is_wolf))
    assert errors.is_wolf.sum() < 6


def test_half_of_the_errors_are_of_the_fewest_identities():
    assert zoo.share_with_half(np.array([0, 10, 0, 0])) == 0.25
    assert zoo.share_with_half(np.ones(10)) == 0.5
    assert np.isnan(zoo.share_with_half(np.zeros(3)))


def test_chance_follows_the_comparisons():
    rng = np.random.default_rng(0)
    even = zoo.chance_share_with_half(100_000, np.ones(10), rng)
    assert even == pytest.approx(0.5, abs=0.01)
    uneven = zoo.chance_share_with_half(100_000, np.array([7.0, 1, 1, 1]), rng)
    assert uneven == 0.25
    assert np.isnan(zoo.chance_share_with_half(0, np.ones(3), rng))


def test_goats_fail_more_often_than_chance_allows():
    identities = np.repeat(np.arange(4), 4)
    i, j = np.triu_indices(16, 1)
    matched = np.stack([i, j], axis=1)[identities[i] == identities[j]]
    scores = np.ones(24)
    scores[:8] = 0.0  # all six of identity 0, and two of identity 1
    mismatched = np.array([[0, 4]])
    comparisons = Comparisons(matched, scores, mismatched, np.zeros(1), 96)
    errors = zoo.errors_by_identity(comparisons, identities, 0.5)
    assert errors.num_false_nonmatches.tolist() == [6, 2, 0, 0]
    # One in three fails; two standard errors of four images are 0.47 more.
    assert errors.is_goat.tolist() == [True, False, False, False]
    assert not errors.is_wolf.any()
