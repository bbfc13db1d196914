"""What benchmarks share: turns, ratios, processes of their own, memory, and the machine."""

import concurrent.futures
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


def in_new_process(function: Callable, *arguments) -> Any:
    """What `function(*arguments)` returns, computed in a process started anew."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def quartiles(ratios: np.ndarray) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper one."""
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def in_turns(
    cases: Sequence[Callable[[], float]], rounds: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """What the cases return, (cases,), of each round; in one all take turns, in ever new order."""
    for _ in range(rounds):
        row = np.zeros(len(cases))
        for i in rng.permutation(len(cases)):
            row[i] = cases[i]()
        yield row


def timed(function: Callable[..., Any], *arguments: Any, **settings: Any) -> float:
    """The seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments, **settings)
    return time.perf_counter() - start


class Comparison(NamedTuple):
    """A case, what it is measured against, and the part of its rate that it should reach."""

    case: str
    base: str
    goal: float | None


def compare(
    seconds: pd.DataFrame, comparisons: Sequence[Comparison], num_images: int
) -> pd.DataFrame:
    """The rates of cases beside those of others.

    Args:
        seconds: a row for each round, a column for each case.
        comparisons: a row of the result for each.
        num_images: the images that a case deals with in a round.
    """
    rows = []
    for case, base, goal in comparisons:
        low, middle, high = quartiles((seconds[base] / seconds[case]).to_numpy())
        rows.append(
            {
                "case": case,
                "base": base,
                "images_per_second": num_images / seconds[case].median(),
                "base_per_second": num_images / seconds[base].median(),
                "ratio": middle,
                "ratio_low": low,
                "ratio_high": high,
                "goal": goal,
            }
        )
    return pd.DataFrame(rows)


def comparison_lines(table: pd.DataFrame) -> list[str]:
    """What `compare` gave, as the lines of a Markdown table."""

    def rate(number):
        return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"

    lines = [
        "| case | images/s | beside | images/s | ratio | quartiles | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        goal = "" if pd.isna(row.goal) else f"{row.goal:.2f}"
        lines.append(
            f"| {row.case} | {rate(row.images_per_second)} | {row.base} "
            f"| {rate(row.base_per_second)} | {row.ratio:.2f} "
            f"| {row.ratio_low:.2f} to {row.ratio_high:.2f} | {goal} |"
        )
    return lines
