import numpy as np
import pytest

from keras_sphereface.metrics.extreme_value import ParetoTail, fit_pareto_tail


def pareto_scores(shape, count=20_000, start=0.3, scale=0.05):
    """Falling scores at the quantiles of a generalized Pareto distribution, and its start."""
    above = (np.arange(count) + 0.5) / count
    exceedances = -np.log(above) if shape == 0 else (above**-shape - 1) / shape
    return np.append(start + scale * exceedances, start)


@pytest.mark.parametrize("shape", [-0.4, -0.1, 0.0, 0.2])
def test_fit_finds_the_distribution_that_scores_come_from(shape):
    tail = fit_pareto_tail(pareto_scores(shape), num_pairs=2_000_000)
    assert tail.share == 0.01
    assert tail.shape == pytest.approx(shape, abs=0.02)
    assert tail.scale == pytest.approx(0.05, rel=0.02)
    expected = ParetoTail(0.3, 0.01, shape, 0.05)
    assert tail.threshold(1e-6) == pytest.approx(expected.threshold(1e-6), rel=0.05)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_threshold_is_the_inverse_of_the_rate(shape):
    tail = ParetoTail(0.3, 0.01, shape, 0.05)
    for fmr in (0.01, 1e-3, 1e-7):
        assert tail.fmr(tail.threshold(fmr)) == pytest.approx(fmr)
    assert np.isnan(tail.threshold(0.02))
    assert np.isnan(tail.fmr(0.2))


def test_a_tail_may_end():
    tail = ParetoTail(0.3, 0.01, -0.5, 0.1)
    assert tail.fmr(0.5) == 0.0
    assert tail.threshold(1e-12) < 0.5


def test_weights_are_repetitions():
    scores = np.sort(np.random.default_rng(0).exponential(size=60))[::-1]
    weights = np.random.default_rng(1).integers(1, 3, size=60)
    weights[-1] = 1
    ours = fit_pareto_tail(scores, 1000, weights)
    repeated = fit_pareto_tail(np.repeat(scores, weights), 1000)
    assert ours.share == repeated.share
    assert ours.shape == pytest.approx(repeated.shape, abs=1e-9)
    assert ours.scale == pytest.approx(repeated.scale, rel=1e-9)


def test_the_exponential_distribution_continues_as_one():
    rng = np.random.default_rng(2)
    scores = np.sort(rng.exponential(size=1_000_000))[::-1]
    tail = fit_pareto_tail(scores[:10_001], 1_000_000)
    # The rate at a threshold that a thousand times as many pairs would show.
    assert tail.threshold(1e-6) == pytest.approx(-np.log(1e-6), rel=0.1)


def test_too_few_scores_are_refused():
    with pytest.raises(ValueError, match=r"20 scores or more above its start\. Received: 5"):
        fit_pareto_tail(np.arange(6.0)[::-1], 100)
    with pytest.raises(ValueError, match="above its start"):
        fit_pareto_tail(np.ones(40), 100)
