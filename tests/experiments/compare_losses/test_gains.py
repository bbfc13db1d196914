"""Differences of losses on the same pairs, and whether they are significant."""

import doctest

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.experiments.compare_losses import gains
from keras_sphereface.metrics.bootstrap import Interval


def pairs_of(is_correct):
    keys = {"first": [f"{i}" for i in range(len(is_correct))], "second": "x"}
    is_same = np.arange(len(is_correct)) % 2
    return pd.DataFrame({**keys, "is_same": is_same, "is_correct": is_correct})


def test_the_examples_run():
    assert doctest.testmod(gains).failed == 0


def test_differences_are_those_of_the_same_pairs():
    rng = np.random.default_rng(0)
    worse = [pairs_of(rng.integers(0, 2, 200)) for _ in range(3)]
    same = gains.accuracy_gain(worse, worse, 0)
    assert same.by_seed.tolist() == [0.0, 0.0, 0.0]
    assert same.interval == Interval(0.0, 0.0)  # as of other pairs it would not be
    better = [pairs_of([1, 1, 1, 0]), pairs_of([1, 1, 1, 1])]
    worse = [pairs_of([1, 1, 0, 0]), pairs_of([0, 1, 0, 1])]
    gain = gains.accuracy_gain(better, worse, 0)
    assert gain.by_seed.tolist() == [0.25, 0.5]
    assert gain.interval.low < 0.375 < gain.interval.high
    other = pairs_of([1, 1, 1, 1]).assign(first="another")
    with pytest.raises(ValueError, match=r"the same pairs.*Received: 4 pairs"):
        gains.accuracy_gain(better, [worse[0], other], 0)


@pytest.mark.parametrize(
    ("by_seed", "low", "high", "verdict"),
    [
        ([0.1, 0.2], 0.05, 0.3, "yes"),
        ([0.1, -0.01], 0.01, 0.3, "not significant"),
        ([0.1, 0.2], -0.05, 0.3, "not significant"),
        ([-0.1, -0.2], -0.3, -0.05, "no, the other way round"),
    ],
)
def test_a_gain_is_outside_of_its_interval_and_of_one_sign(by_seed, low, high, verdict):
    assert gains.Gain(np.array(by_seed), Interval(low, high)).verdict == verdict


@pytest.mark.slow
def test_equal_losses_are_seldom_significant_though_seeds_differ():
    rng, wrong = np.random.default_rng(0), 0
    for trial in range(60):
        tables = [
            [pairs_of((rng.random(400) < share).astype(int)) for share in rng.normal(0.8, 0.03, 3)]
            for _ in range(2)
        ]
        wrong += gains.accuracy_gain(*tables, trial).verdict != "not significant"
    assert wrong <= 9


def test_images_of_one_identity_do_not_count_as_so_many():
    """Twenty identities with forty pairs each, all right or all wrong, are as sure as twenty."""
    names = [f"id{i}" for i in range(20)]
    both = [*zip(names, names, strict=True), *zip(names, names[::-1], strict=True)]
    rows = [
        (f"{a}/{k}.jpg", f"{b}/{k + 40}.jpg", int(a == b), int(i < 14))
        for i, (a, b) in enumerate(both)
        for k in range(40)
    ]
    right = pd.DataFrame(rows, columns=["first", "second", "is_same", "is_correct"])
    wrong = right.assign(is_correct=0)
    gain = gains.accuracy_gain([right], [wrong], 0)
    unknown = [
        table.assign(first=[f"{i}.jpg" for i in table.index], second="x.jpg")
        for table in (right, wrong)
    ]
    as_if_independent = gains.accuracy_gain(unknown[:1], unknown[1:], 0)
    widths = [g.interval.high - g.interval.low for g in (gain, as_if_independent)]
    assert widths[0] > 4 * widths[1]


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    tables = [pairs_of((rng.random(2000) < share).astype(int)) for share in (0.75, 0.8, 0.85)]
    base = [pairs_of((rng.random(2000) < 0.7).astype(int)) for _ in range(3)]
    three = gains.accuracy_gain(tables, base, 0).interval
    one = gains.accuracy_gain(tables[1:2], base[1:2], 0).interval
    assert three.high - three.low > 1.5 * (one.high - one.low)
