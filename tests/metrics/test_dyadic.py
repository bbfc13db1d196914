import itertools

import numpy as np
import pytest

from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.dyadic import dyadic_variance, rate_interval, wilson_interval
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs


def drawn_errors(seed, num_identities=8, num_pairs=60, share=0.3):
    rng = np.random.default_rng(seed)
    first = rng.integers(num_identities, size=num_pairs)
    second = (first + rng.integers(1, num_identities, size=num_pairs)) % num_identities
    wolves = rng.random(num_identities) < share
    is_wrong = (rng.random(num_pairs) < 0.1) | (wolves[first] & (rng.random(num_pairs) < 0.6))
    return is_wrong, IdentityPairs(first, second, num_identities)


@pytest.mark.parametrize("seed", range(5))
def test_variance_counts_every_two_pairs_with_a_common_identity_once(seed):
    is_wrong, pairs = drawn_errors(seed)
    errors = is_wrong - is_wrong.mean()
    sides = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    two = itertools.product(range(len(errors)), repeat=2)
    total = sum(errors[p] * errors[q] for p, q in two if {*sides[p]} & {*sides[q]})
    same = sum(
        errors[p] * errors[q]
        for p, q in itertools.product(range(len(errors)), repeat=2)
        if {*sides[p]} == {*sides[q]}
    )
    expected = max(total, same) / len(errors) ** 2
    assert dyadic_variance(is_wrong, pairs) == pytest.approx(expected, rel=1e-12)


def test_variance_of_matched_pairs_is_that_of_clusters():
    identities, values = np.array([0, 0, 0, 1, 2, 2]), np.array([1.0, 1, 1, 0, 0, 1])
    pairs = IdentityPairs(identities, identities, 3)
    sums = [values[identities == i].sum() - np.sum(identities == i) * 4 / 6 for i in range(3)]
    assert dyadic_variance(values, pairs) == pytest.approx(np.sum(np.square(sums)) / 36)


def test_pairs_of_both_kinds_are_refused():
    pairs = IdentityPairs(np.array([0, 0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="Received: 1 matched and 1 mismatched"):
        dyadic_variance(np.ones(2), pairs)


def test_wilson_intervals_agree_with_tables():
    # Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", 2001.
    interval = wilson_interval(4 / 20, 20)
    assert interval == Interval(pytest.approx(0.0807, abs=5e-5), pytest.approx(0.4160, abs=5e-5))
    assert wilson_interval(0.0, 20) == Interval(0.0, pytest.approx(0.1611, abs=5e-5))
    assert wilson_interval(1.0, 20) == Interval(pytest.approx(0.8389, abs=5e-5), 1.0)


def test_rate_of_independent_pairs_has_the_interval_of_wilson():
    identities = np.arange(40)
    is_wrong = identities < 5
    pairs = IdentityPairs(identities, identities, 40)
    assert rate_interval(is_wrong, pairs).high == pytest.approx(wilson_interval(5 / 40, 40).high)
    none = rate_interval(np.zeros(40, bool), pairs)
    assert none == wilson_interval(0.0, 40)


def scores_of_pairs(is_wrong, pairs, num_pairs_matched):
    """Scores as cimat takes them: {identity: {identity: [scores]}}, wrong where above 0.5."""
    scores = {i: {} for i in range(pairs.num_identities)}
    columns = (pairs.first.tolist(), pairs.second.tolist(), is_wrong.tolist())
    for a, b, wrong in zip(*columns, strict=True):
        for one, other in ((a, b), (b, a)):
            scores[one].setdefault(other, []).append(0.9 if wrong else 0.1)
    for i in range(pairs.num_identities):
        scores[i][i] = [0.1 if k < i % 3 else 0.9 for k in range(num_pairs_matched)]
    return scores


@pytest.mark.parametrize("seed", range(5))
def test_variances_and_intervals_are_those_of_cimat(seed):
    cimat = pytest.importorskip("cimat", reason="cimat is for NumPy 1")
    is_wrong, pairs = drawn_errors(seed, num_identities=20, num_pairs=150)
    other = cimat.UncertaintyEstimator(scores=scores_of_pairs(is_wrong, pairs, 4))
    other.compute_binerror_metrics(0.5)
    of_fnmr, of_fmr = other.compute_variance(threshold=0.5, estimator="plugin")
    identities = np.repeat(np.arange(20), 4)
    matched = IdentityPairs(identities, identities, 20)
    is_rejected = np.tile(np.arange(4), 20) < identities % 3
    assert dyadic_variance(is_wrong, pairs) == pytest.approx(of_fmr, rel=1e-9)
    assert dyadic_variance(is_rejected, matched) == pytest.approx(of_fnmr, rel=1e-9)
    fnmr, fmr = other.get_binerror_ci(threshold=0.5, var_fnr=of_fnmr, var_fpr=of_fmr)
    for expected, interval in (
        (fmr, rate_interval(is_wrong, pairs)),
        (fnmr, rate_interval(is_rejected, matched)),
    ):
        assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-6)
