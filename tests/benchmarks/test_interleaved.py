"""Rounds, orders and ratios of the interleaved timing."""

import doctest
import time

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.benchmarks import head_cases, hlo, interleaved
from keras_sphereface.reporting import markdown


@pytest.mark.parametrize("module", [interleaved, head_cases, hlo, markdown])
def test_the_examples_run(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_comparisons_are_of_the_same_round():
    seconds = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [2.0, 4.0, 8.0]})
    rates = interleaved.compare_rates(seconds, [interleaved.RateComparison("a", "b", 0.9)], 100)
    assert rates[
        ["images_per_second", "baseline_images_per_second", "ratio"]
    ].to_numpy().tolist() == [[50.0, 25.0, 2.0]]
    assert interleaved.rates_table(rates).splitlines()[2] == (
        "| a | 50.0 | b | 25.0 | 2.00 | 2.00 to 2.00 | 0.90 |"
    )


def test_quartiles_are_numbers():
    assert interleaved.quartiles(np.arange(5)) == (1.0, 2.0, 3.0)


@pytest.mark.slow
def test_every_round_runs_every_case_in_a_new_order():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.05)

    cases = {
        "fast": lambda: interleaved.seconds_of(calls.append, "fast"),
        "slow": lambda: interleaved.seconds_of(slow),
    }
    seconds = interleaved.interleaved_seconds(cases, rounds=6, seed=0)
    assert seconds.shape == (6, 2)
    assert (seconds["slow"] >= 0.05).all()
    assert (seconds["fast"] < 0.05).all()
    # One round more than those that count, to warm up.
    rounds = [tuple(calls[i : i + 2]) for i in range(0, 14, 2)]
    assert set(rounds) == {("fast", "slow"), ("slow", "fast")}
    calls.clear()
    interleaved.interleaved_seconds(cases, rounds=1, seed=0, warm_up=False)
    assert sorted(calls) == ["fast", "slow"]
