"""Benchmark of the heads: time and memory of a training step beside a plain Dense layer."""

import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.benchmarks.head_cases import (
    ASOFTMAX,
    BLOCKS,
    CASES,
    DENSE,
    SAMPLED,
    UNIT_BLOCKS,
    StepShape,
    draw_batch,
    make_step,
)
from keras_sphereface.benchmarks.hlo import write_head_programs
from keras_sphereface.benchmarks.interleaved import interleaved_seconds, quartiles, seconds_of
from keras_sphereface.benchmarks.processes import in_new_process
from keras_sphereface.config import HeadBenchmarkConfig
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.utils.environment import first_gpu, held_memory, machine
from keras_sphereface.utils.progress import log, progress_bar, stage
from keras_sphereface.utils.validation import check_choice, check_integer

SWEEP_CASES = (DENSE, ASOFTMAX, BLOCKS, UNIT_BLOCKS, SAMPLED)
# Beyond this, the kernels of all cases together would not fit in 16 GB.
MAX_CLASSES_OF_ALL_CASES = 400_000
LARGE_CASES = (DENSE, BLOCKS, UNIT_BLOCKS, SAMPLED)
MIN_CLASSES = 8
SMALL_STEP = StepShape(batch_size=8, embedding_size=8, num_classes=64)


def benchmark_heads(config: HeadBenchmarkConfig) -> str:
    """Measure the heads, and write head.csv, head.md, head.png and the XLA programs.

    Each measurement runs in a separate process.

    Returns:
        The text of head.md.

    Raises:
        ValueError: If a size is too small or a case unknown.
    """
    _check(config)
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    shape = StepShape(config.batch_size, config.embedding_size, config.num_classes)
    with stage("writing the XLA programs"):
        in_new_process(write_head_programs, folder, shape, config.seed)
    cases = [case for case in CASES if not config.cases or case in (DENSE, *config.cases)]
    jobs = [("table", shape, cases, config.repeats)]
    for num_classes in sorted(set(config.sweep)):
        jobs.append(
            (
                "figure",
                StepShape(config.batch_size, config.embedding_size, num_classes),
                [case for case in sweep_cases(num_classes) if case in cases],
                max(3, config.repeats // 10),
            )
        )
    tables = []
    for i, (section, size, measured_cases, rounds) in enumerate(jobs, start=1):
        log(f"{size.num_classes:,} classes, size {i} of {len(jobs)}")
        measured = measure_heads(size, measured_cases, rounds, config.seed)
        tables.append(measured.assign(section=section, rounds=rounds))
    table = pd.concat(tables)
    text = describe_heads(table, shape)
    table.to_csv(folder / "head.csv", index=False, float_format="%.4g")
    draw_scaling(table[table["section"] == "figure"]).savefig(folder / "head.png", dpi=110)
    (folder / "head.md").write_text(text, encoding="utf-8")
    return text


def _check(config: HeadBenchmarkConfig) -> None:
    sizes = {"batch_size": 1, "embedding_size": 1, "num_classes": MIN_CLASSES, "repeats": 1}
    for name, minimum in sizes.items():
        check_integer(getattr(config, name), name, minimum)
    for num_classes in config.sweep:
        check_integer(num_classes, "sweep", MIN_CLASSES)
    for case in config.cases:
        check_choice(case, "cases", CASES)


def sweep_cases(num_classes: int) -> tuple[str, ...]:
    """Return the cases that the figure shows at this number of classes."""
    return SWEEP_CASES if num_classes <= MAX_CLASSES_OF_ALL_CASES else LARGE_CASES


def measure_heads(shape: StepShape, cases: Sequence[str], rounds: int, seed: int) -> pd.DataFrame:
    """Measure cases of one size, `DENSE` first.

    Returns:
        A row for each case: the median time in milliseconds, the ratio to the baseline with
        quartiles, and the memory in MB.
    """
    seconds = in_new_process(measure_times, shape, cases, rounds, seed)
    memory = {
        case: in_new_process(measure_step_memory, shape, case, seed)
        for case in progress_bar(cases, desc="memory", unit="head")
    }
    rows = []
    for case in cases:
        low, middle, high = quartiles(seconds[case] / seconds[DENSE])
        rows.append(
            {
                "case": case,
                "num_classes": shape.num_classes,
                "milliseconds": 1e3 * seconds[case].median(),
                "ratio": middle,
                "ratio_low": low,
                "ratio_high": high,
                "megabytes": memory[case],
            }
        )
    return pd.DataFrame(rows)


def measure_times(shape: StepShape, cases: Sequence[str], rounds: int, seed: int) -> pd.DataFrame:
    """Return the seconds of a training step, a row for each round, a column for each case."""
    keras.utils.set_random_seed(seed)
    batch = draw_batch(shape, seed)
    steps = {case: make_step(case, shape) for case in cases}

    def run(case: str) -> None:
        results = steps[case](*batch)
        tf.test.experimental.sync_devices()
        del results

    timed = {case: functools.partial(seconds_of, run, case) for case in cases}
    return interleaved_seconds(timed, rounds, seed, description=f"{shape.num_classes:,} classes")


def measure_step_memory(shape: StepShape, case: str, seed: int) -> float:
    """Return what a training step takes beyond the kernel and its gradient, in MB (10^6 bytes).

    The peak over two steps, less what was held before the first (libraries, the kernel, the
    traced function), less the kernel's gradient, which the step returns. On a GPU it is the memory
    of the device, otherwise of this process. Run it in a fresh process.
    """
    # A small step first: the libraries take their own memory with it.
    make_step(case, SMALL_STEP)(*draw_batch(SMALL_STEP, seed))
    # Zeros are made without copies, which would be held for the step to use.
    step, batch = make_step(case, shape, "zeros"), draw_batch(shape, seed)
    step.get_concrete_function(*batch)
    gpu = first_gpu()
    if gpu:
        tf.config.experimental.reset_memory_stats(gpu)
    before = held_memory(gpu)[0]
    for _ in range(2):
        step(*batch)
    gradient = 4 * shape.embedding_size * shape.num_classes
    return (held_memory(gpu)[1] - before - gradient) / 1e6


def describe_heads(table: pd.DataFrame, shape: StepShape) -> str:
    """Return the results as Markdown."""
    text = (
        "One training step of the head, forward and backward, float32, "
        f"B = {shape.batch_size}, D = {shape.embedding_size}.\n"
        f"Machine: {machine()}.\n"
        "Ratios are to the Dense layer of the same round, medians with quartiles; memory is what "
        "the step takes at its peak, without the kernel and its gradient.\n"
    )
    header = ["head", "ms", "times Dense", "quartiles", "memory, MB"]
    for (_, num_classes, rounds), rows in table.groupby(
        ["section", "num_classes", "rounds"], sort=False
    ):
        cells = [
            [
                row.case,
                f"{row.milliseconds:.4g}",
                f"{row.ratio:.2f}",
                f"{row.ratio_low:.2f} to {row.ratio_high:.2f}",
                f"{row.megabytes:,.0f}",
            ]
            for row in rows.itertuples()
        ]
        text += f"\n{num_classes:,} classes, {rounds} rounds:\n\n{markdown_table(header, cells)}"
    return text


def draw_scaling(table: pd.DataFrame) -> Figure:
    """Draw time and memory over the number of classes."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.plot_scaling(left, table, "milliseconds", "milliseconds a step")
    plots.plot_scaling(right, table, "megabytes", "MB taken, without kernel and gradient")
    plots.legend_below(figure, left, columns=3)
    return figure
