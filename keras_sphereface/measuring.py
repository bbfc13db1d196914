"""What benchmarks share: turns, ratios, processes of their own, memory, and the machine."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.version import __version__


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
        num_images: the pictures that a case deals with in a round.
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
        "| case | pictures/s | beside | pictures/s | ratio | quartiles | goal |",
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


@contextlib.contextmanager
def most_memory(process: int, interval: float = 0.05) -> Iterator[list[int]]:
    """The most bytes that a process and its children held, in the list, when the block ends.

    Memory that processes share counts once (the proportional set size that Linux reports).
    """
    peak, stopped = [0], threading.Event()

    def watch():
        while not stopped.wait(interval):
            held = sum(map(_proportional_bytes, _with_children(process)))
            peak[0] = max(peak[0], held)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stopped.set()
        thread.join()


def first_gpu() -> str:
    """The name of the first GPU, for questions about its memory; empty if there is none."""
    gpus = tf.config.list_logical_devices("GPU")
    return gpus[0].name.removeprefix("/device:") if gpus else ""


def held_memory(gpu: str = "") -> tuple[int, int]:
    """Bytes held now, and the most ever held, on a GPU ("GPU:0") or else in this process."""
    if gpu:
        info = tf.config.experimental.get_memory_info(gpu)
        return info["current"], info["peak"]
    with open("/proc/self/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    now, most = (1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now, most


def _with_children(process: int) -> list[int]:
    found = [process]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/children", encoding="ascii") as file:
                for child in file.read().split():
                    found += _with_children(int(child))
    return found


def _proportional_bytes(process: int) -> int:
    with (
        contextlib.suppress(OSError),  # it may have ended meanwhile
        open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file,
    ):
        for line in file:
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def machine() -> str:
    """Device, cores, system and versions in a line."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        device = f"{len(gpus)} x {details.get('device_name', 'GPU')}"
    else:
        names = []
        # Only Linux has it.
        with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        device = f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
    return (
        f"{device}, {platform.system()}, Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, keras_sphereface {__version__}"
    )
