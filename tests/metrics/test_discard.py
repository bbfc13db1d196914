"""Error-versus-discard curves, against lists from which pairs are removed."""

import numpy as np
import pytest

from keras_sphereface.metrics import discard
from keras_sphereface.metrics.discard import DISCARDS, best_curve, discard_curve, relative_area


def drawn(count=100, seed=0):
    rng = np.random.default_rng(seed)
    return rng.permutation(count).astype(float), rng.random(count) < 0.3


def test_the_curve_is_the_rate_of_what_is_kept():
    quality, is_error = drawn()
    curve = discard_curve(quality, is_error)
    for share, rate in zip(DISCARDS, curve, strict=True):
        kept = np.argsort(quality)[round(share * 100) :]
        assert rate == pytest.approx(is_error[kept].mean())


def test_weights_are_repetitions():
    quality, is_error = drawn()
    weights = np.random.default_rng(1).integers(0, 4, 100)
    repeated = discard_curve(np.repeat(quality, weights), np.repeat(is_error, weights))
    np.testing.assert_allclose(discard_curve(quality, is_error, weights), repeated)


def test_equal_qualities_are_discarded_at_random():
    is_error = drawn()[1]
    curve = discard_curve(np.zeros(100), is_error)
    np.testing.assert_allclose(curve, is_error.mean())
    assert relative_area(curve) == pytest.approx(1.0)


def test_the_area_lies_between_the_best_and_random():
    quality, is_error = drawn()
    rate = is_error.mean()
    assert relative_area(discard_curve(-is_error.astype(float), is_error)) == pytest.approx(0)
    np.testing.assert_allclose(discard_curve(-is_error.astype(float), is_error), best_curve(rate))
    # Errors last: worse than at random.
    assert relative_area(discard_curve(is_error.astype(float), is_error)) > 1.1
    noisy = discard_curve(quality - 30 * is_error, is_error)
    assert 0.05 < relative_area(noisy) < 0.95
    assert np.isnan(relative_area(np.zeros(41)))
    everything = discard_curve(np.arange(7.0), np.ones(7, bool))
    assert np.isnan(relative_area(everything))


def test_the_area_ends_at_a_fifth():
    curve = np.full(41, 0.3)
    curve[discard.DISCARDS > 0.201] = 0.0
    assert relative_area(curve) == pytest.approx(1.0)
