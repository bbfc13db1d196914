"""Interleaved timing: cases run in rounds, so that whatever slows the machine slows all of them.

What counts is the ratio to the baseline in the same round, not the seconds.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.progress import progress_bar


def seconds_of(function: Callable[..., Any], *arguments: Any, **settings: Any) -> float:
    """Return the seconds that a call takes.

    Example:
        >>> seconds_of(sorted, range(10)) < 1.0
        True
    """
    start = time.perf_counter()
    function(*arguments, **settings)
    return time.perf_counter() - start


def interleaved_seconds(
    cases: Mapping[str, Callable[[], float]],
    rounds: int,
    seed: int,
    warm_up: bool = True,
    description: str = "measuring",
) -> pd.DataFrame:
    """Time cases in rounds; each round runs every case once, in an order drawn anew.

    Args:
        cases: Functions that return the seconds they measured, by name.
        rounds: Int >= 1. Rounds that count.
        seed: Int. Seed for the orders.
        warm_up: Bool. Run one round more, first, that does not count: it fills caches and
            traces functions.
        description: String. Text in front of the progress bar.

    Returns:
        Seconds, (rounds, cases): a row for each round, a column for each case.

    Example:
        >>> interleaved_seconds({"one": lambda: 1.0, "two": lambda: 2.0}, rounds=1, seed=0)
           one  two
        0  1.0  2.0
    """
    rng = np.random.default_rng(seed)
    names = list(cases)

    total = (rounds + warm_up) * len(names)
    with progress_bar(total=total, unit="measurement", desc=description) as bar:

        def run_round() -> dict[str, float]:
            seconds = {}
            for i in rng.permutation(len(names)):
                seconds[names[i]] = cases[names[i]]()
                bar.update()
            return seconds

        if warm_up:
            run_round()
        return pd.DataFrame([run_round() for _ in range(rounds)], columns=names)


def quartiles(values: np.ndarray | pd.Series) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile.

    Example:
        >>> quartiles(np.arange(5))
        (1.0, 2.0, 3.0)
    """
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


@dataclasses.dataclass(frozen=True)
class RateComparison:
    """A case beside its baseline.

    Attributes:
        case: Name of the case.
        baseline: Name of the case that it is compared with.
        goal: Ratio of the rates that the case should reach; None: no goal.

    Example:
        >>> RateComparison("pipeline", "decode", goal=0.9).baseline
        'decode'
    """

    case: str
    baseline: str
    goal: float | None = None


def compare_rates(
    seconds: pd.DataFrame, comparisons: Sequence[RateComparison], num_images: int
) -> pd.DataFrame:
    """Return the rates of cases beside those of their baselines.

    Args:
        seconds: Of `interleaved_seconds`.
        comparisons: One row of the result each.
        num_images: Int. Images that a case processes in a round.

    Returns:
        A row for each comparison: both rates in images per second, and median and quartiles of
        the ratios within a round.

    Example:
        >>> seconds = pd.DataFrame({"fast": [1.0], "slow": [2.0]})
        >>> compare_rates(seconds, [RateComparison("fast", "slow")], 100)["ratio"].tolist()
        [2.0]
    """
    rows = []
    for comparison in comparisons:
        case, baseline = seconds[comparison.case], seconds[comparison.baseline]
        low, middle, high = quartiles(baseline / case)
        rows.append(
            {
                "case": comparison.case,
                "baseline": comparison.baseline,
                "images_per_second": num_images / case.median(),
                "baseline_images_per_second": num_images / baseline.median(),
                "ratio": middle,
                "ratio_low": low,
                "ratio_high": high,
                "goal": comparison.goal,
            }
        )
    return pd.DataFrame(rows)


def rates_table(rates: pd.DataFrame) -> str:
    """Return the result of `compare_rates` as a Markdown table."""

    def rate(number: float) -> str:
        return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"

    header = ["case", "images/s", "baseline", "images/s", "ratio", "quartiles", "goal"]
    rows = [
        [
            row.case,
            rate(row.images_per_second),
            row.baseline,
            rate(row.baseline_images_per_second),
            f"{row.ratio:.2f}",
            f"{row.ratio_low:.2f} to {row.ratio_high:.2f}",
            "" if pd.isna(row.goal) else f"{row.goal:.2f}",
        ]
        for row in rates.itertuples()
    ]
    return markdown_table(header, rows)
