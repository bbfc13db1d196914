"""The fit of the model of the step time: constants that made the seconds come back."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.benchmarks.scaling_fit import fit_coefficients, fit_hardware
from keras_sphereface.benchmarks.scaling_model import (
    HeadPlan,
    NetworkSize,
    all_reduce_seconds,
    predict_step,
)
from keras_sphereface.config.hardware import Hardware

TRUE = Hardware(5e10, 8e10, 6e9, 4e8, 4e8, 1e-3, 0.0, 2, shared=True, fixed_seconds=0.02)
NO_NETWORK = NetworkSize(0, 0)


def test_constants_come_back_from_the_seconds_that_they_make():
    network = NetworkSize(3.5e9, 0)
    no_fixed = dataclasses.replace(TRUE, fixed_seconds=0.0)
    seconds = {b: 3 * 3.5e9 * b / 5e10 + 0.02 for b in (4, 16, 32)}
    plans = [(HeadPlan(c), b) for c in (1000, 50_000) for b in (32, 256)]
    heads = [(p, b, predict_step(no_fixed, NO_NETWORK, p, b).head) for p, b in plans]
    sizes = (10**6, 10**7, 3 * 10**7)
    reduce = {size: all_reduce_seconds(TRUE, size, 2) for size in sizes}
    here = fit_hardware(network, seconds, heads, reduce, num_workers=2)
    for name, value in dataclasses.asdict(TRUE).items():
        assert getattr(here, name) == pytest.approx(value, rel=1e-6), name


def test_what_would_be_negative_takes_no_time():
    # Slower with less: no latency explains it.
    features = np.array([[1.0, 1.0], [1.0, 10.0], [1.0, 20.0]])
    coefficients = fit_coefficients(features, np.array([0.5, 10.0, 20.5]))
    assert coefficients[0] == 0.0
    assert coefficients[1] == pytest.approx(1.0, rel=0.5)


def test_errors_are_relative():
    # The long one is twice what the short ones say: it does not decide alone.
    features = np.array([[1.0], [2.0], [1000.0]])
    assert fit_coefficients(features, np.array([1.0, 2.0, 2000.0]))[0] < 1.3


def test_too_few_measurements_are_refused():
    with pytest.raises(ValueError, match=r"at least 2 measurements.*Received: 1"):
        fit_coefficients(np.ones((1, 2)), np.ones(1))
