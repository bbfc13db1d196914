"""The peak memory of a training step, with flags of `sphereface train` or without."""

from collections.abc import Mapping
from pathlib import Path

from keras_sphereface.benchmarks.processes import ProcessCase, Program
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.progress import progress_bar


def measure_memory_of_steps(cases: Mapping[str, Program], folder: Path) -> dict[str, float]:
    """Return the peak memory of a step, in bytes, for each case, a process of its own.

    Args:
        cases: Programs that send it, by the name of the case.
        folder: Folder for the output of the processes.
    """
    peaks = {}
    for name, program in progress_bar(cases.items(), unit="case", desc="memory of a step"):
        with ProcessCase(f"memory of {name}", folder, [program]) as case:
            peaks[name] = case.run_round()
    return peaks


def describe_step_memory(peaks: Mapping[str, float]) -> str:
    """Return the peaks as Markdown, each beside the first.

    Example:
        >>> print(describe_step_memory({"whole step": 2e9, "whole step, --remat": 1e9}))
        Peak memory of a step, beside weights and slots of the optimizer:
        <BLANKLINE>
        | case | MB | ratio |
        |---|---|---|
        | whole step | 2,000 | 1.00 |
        | whole step, --remat | 1,000 | 0.50 |
        <BLANKLINE>
    """
    first = next(iter(peaks.values()))
    rows = [[name, f"{peak / 1e6:,.0f}", f"{peak / first:.2f}"] for name, peak in peaks.items()]
    return "Peak memory of a step, beside weights and slots of the optimizer:\n\n" + markdown_table(
        ["case", "MB", "ratio"], rows
    )
