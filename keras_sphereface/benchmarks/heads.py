"""Benchmarks: time and memory of the heads beside a plain Dense layer, and convergence.

Every measurement runs in a process of its own, started anew, so that none inherits the memory or
the compiled functions of another. Within a process the cases take turns, so that whatever slows
the machine slows them alike, and what counts is the ratio to the Dense layer of the same round.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from keras_sphereface import plots
from keras_sphereface.benchmarks import hlo
from keras_sphereface.benchmarks.data import benchmark_data
from keras_sphereface.benchmarks.evaluation import benchmark_evaluation
from keras_sphereface.benchmarks.timing import in_new_process, in_turns, quartiles, timed
from keras_sphereface.benchmarks.training import benchmark_training
from keras_sphereface.config import (
    ConvergenceBenchmarkConfig,
    DataBenchmarkConfig,
    EvaluateBenchmarkConfig,
    HeadBenchmarkConfig,
    TrainBenchmarkConfig,
    TrainConfig,
)
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.heads import angular_head
from keras_sphereface.heads.registry import make_head
from keras_sphereface.training.train import train
from keras_sphereface.utils.environment import first_gpu, held_memory, machine
from keras_sphereface.utils.progress import progress_bar

DENSE = "Dense + cross-entropy"
ASOFTMAX = "A-Softmax"
PROJECTED = "A-Softmax, unit kernel"
BLOCKS = "A-Softmax, in blocks"
UNIT_BLOCKS = "A-Softmax, unit kernel, in blocks"
SAMPLED = "A-Softmax, 10 % of the classes"


def _blocks(num_classes):
    """At least four blocks, so that small kernels show what blocks cost too."""
    return min(angular_head.DEFAULT_BLOCK_SIZE, -(-num_classes // 4))


# What makes each head from C.
HEADS: dict[str, Callable[[int], angular_head.AngularHead]] = {
    ASOFTMAX: lambda c: make_head("asoftmax", c, block_size=c),
    PROJECTED: lambda c: make_head("asoftmax", c, block_size=c, kernel_norm="projected"),
    BLOCKS: lambda c: make_head("asoftmax", c, block_size=_blocks(c)),
    UNIT_BLOCKS: lambda c: make_head("asoftmax", c, block_size=_blocks(c), kernel_norm="projected"),
    SAMPLED: lambda c: make_head("asoftmax", c, block_size=c, sample_rate=0.1),
    "A-Softmax, caffe gradient": lambda c: make_head("asoftmax", c, gradient="caffe"),
    "A-Softmax, detached gradient": lambda c: make_head("asoftmax", c, gradient="detached"),
    "softmax": lambda c: make_head("softmax", c),
    "NormFace": lambda c: make_head("normface", c),
    "CosFace": lambda c: make_head("cosface", c),
    "ArcFace": lambda c: make_head("arcface", c),
    "SphereFace-R v1": lambda c: make_head("sphereface-r-v1", c),
    "SphereFace-R v2": lambda c: make_head("sphereface-r-v2", c),
    "SphereFace+": lambda c: make_head("sphereface+", c),
    "SphereFace2": lambda c: make_head("sphereface2", c),
}
CASES = (DENSE, *HEADS)
SWEEP_CASES = (DENSE, ASOFTMAX, BLOCKS, UNIT_BLOCKS, SAMPLED)
# Beyond this, the kernels of all cases together would not fit in 16 GB.
MOST_CLASSES_OF_ALL_CASES = 400_000
LARGE_CASES = (DENSE, BLOCKS, UNIT_BLOCKS, SAMPLED)


def cases_of_sweep(num_classes: int) -> tuple[str, ...]:
    """The cases that are measured at this number of classes."""
    return SWEEP_CASES if num_classes <= MOST_CLASSES_OF_ALL_CASES else LARGE_CASES


def dense_losses(embeddings: tf.Tensor, kernel: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """What all heads are compared with: (B, D), (D, C), (B,) -> (B,)."""
    products = tf.matmul(embeddings, kernel)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, products)


def make_step(
    case: str, config: HeadBenchmarkConfig, num_classes: int, initializer="lecun_uniform"
):
    """A compiled training step of a case: (B, D) embeddings, (B,) labels -> loss and gradients."""
    if case == DENSE:
        kernel = tf.Variable(
            keras.initializers.get(initializer)((config.embedding_size, num_classes), "float32")
        )
        variables = [kernel]

        def losses(embeddings, labels):
            return dense_losses(embeddings, kernel, labels)

    else:
        head = HEADS[case](num_classes)
        head.kernel_initializer = keras.initializers.get(initializer)
        head.build((None, config.embedding_size))
        variables = head.trainable_variables

        def losses(embeddings, labels):
            return head.loss.call(labels, head(embeddings, training=True))

    @tf.function
    def step(embeddings, labels):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = tf.reduce_mean(losses(embeddings, labels))
        return loss, tape.gradient(loss, [embeddings, *variables])

    return step


def make_batch(config: HeadBenchmarkConfig, num_classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Normal embeddings (B, D) and uniform labels (B,)."""
    rng = np.random.default_rng(config.seed)
    embeddings = rng.standard_normal((config.batch_size, config.embedding_size))
    labels = rng.integers(0, num_classes, config.batch_size)
    return tf.constant(embeddings, tf.float32), tf.constant(labels, tf.int32)


def measure_times(
    config: HeadBenchmarkConfig, num_classes: int, cases: Sequence[str], rounds: int
) -> np.ndarray:
    """Seconds (rounds, cases) of a training step; the cases take turns, in ever new order."""
    keras.utils.set_random_seed(config.seed)
    batch = make_batch(config, num_classes)
    steps = [make_step(case, config, num_classes) for case in cases]
    for step in steps:
        step(*batch)  # traced and warm

    def run(step):
        results = step(*batch)
        tf.test.experimental.sync_devices()
        del results

    rng = np.random.default_rng(config.seed)
    turns = in_turns([functools.partial(timed, run, step) for step in steps], rounds, rng)
    return np.array(list(turns))


def measure_memory(config: HeadBenchmarkConfig, num_classes: int, case: str) -> float:
    """What a training step takes beyond the kernel and its gradient, in MB (10^6 bytes).

    The peak over two steps, less what was held before the first (libraries, the kernel, the
    traced function), less the kernel's gradient, which the step returns. On a GPU it is the memory
    of the device, else of this process. To be run in a fresh process.
    """
    # A small step first: the libraries take their own memory with it.
    small = dataclasses.replace(config, batch_size=8, embedding_size=8)
    make_step(case, small, 64)(*make_batch(small, 64))
    # Zeros are made without copies, which would be held for the step to use.
    step = make_step(case, config, num_classes, "zeros")
    batch = make_batch(config, num_classes)
    step.get_concrete_function(*batch)
    gpu = first_gpu()
    if gpu:
        tf.config.experimental.reset_memory_stats(gpu)
    before = held_memory(gpu)[0]
    for _ in range(2):
        step(*batch)
    return (held_memory(gpu)[1] - before - 4 * config.embedding_size * num_classes) / 1e6


def rounds_of(part: str, config: HeadBenchmarkConfig) -> int:
    """The rounds of the "table" or, at larger sizes, of the "image"."""
    return config.repeats if part == "table" else max(3, config.repeats // 10)


def check_head_config(config: HeadBenchmarkConfig) -> None:
    """Refuse sizes that cannot be measured.

    Raises:
        ValueError: naming the setting, what is allowed and what was received.
    """
    lowest = {"batch_size": 1, "embedding_size": 1, "num_classes": 8, "repeats": 1}
    for name, low in lowest.items():
        if getattr(config, name) < low:
            raise ValueError(f"`{name}` must be >= {low}. Received: {getattr(config, name)}")
    if min(config.sweep) < 8:
        raise ValueError(f"`sweep` must hold numbers >= 8. Received: {config.sweep}")
    for case in config.cases:
        if case not in CASES:
            raise ValueError(f"`cases` must be among {', '.join(CASES)}. Received: {case!r}")


def benchmark_heads(config: HeadBenchmarkConfig) -> str:
    """Measure, and write head.csv, head.md, head.png and the XLA programs.

    Returns:
        The text of head.md.
    """
    check_head_config(config)
    chosen = [case for case in CASES if not config.cases or case in (DENSE, *config.cases)]
    jobs = [("table", config.num_classes, chosen)]
    for c in sorted(set(config.sweep)):
        jobs.append(("image", c, [case for case in cases_of_sweep(c) if case in chosen]))
    rows = []
    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    in_new_process(write_programs, config, folder)
    with progress_bar(total=sum(1 + len(job[2]) for job in jobs), unit="job") as progress:
        for part, num_classes, cases in jobs:
            progress.set_postfix_str(f"{num_classes:,} classes")
            rounds = rounds_of(part, config)
            seconds = in_new_process(measure_times, config, num_classes, cases, rounds)
            progress.update()
            for i, case in enumerate(cases):
                low, middle, high = quartiles(seconds[:, i] / seconds[:, 0])
                rows.append(
                    {
                        "part": part,
                        "case": case,
                        "num_classes": num_classes,
                        "milliseconds": 1e3 * np.median(seconds[:, i]),
                        "ratio": middle,
                        "ratio_low": low,
                        "ratio_high": high,
                        "megabytes": in_new_process(measure_memory, config, num_classes, case),
                    }
                )
                progress.update()
    table = pd.DataFrame(rows)
    text = describe_heads(table, config, machine())
    table.to_csv(folder / "head.csv", index=False, float_format="%.4g")
    draw_scaling(table[table["part"] == "image"]).savefig(folder / "head.png", dpi=110)
    (folder / "head.md").write_text(text, encoding="utf-8")
    return text


def describe_heads(table: pd.DataFrame, config: HeadBenchmarkConfig, machine: str) -> str:
    """The results as Markdown."""
    lines = [
        f"One training step of the head, forward and backward, float32, B = {config.batch_size}, "
        f"D = {config.embedding_size}.",
        f"Machine: {machine}.",
        "Ratios are to the Dense layer of the same round, medians with quartiles; memory is what "
        "the step takes at its peak, without the kernel and its gradient.",
    ]
    for (part, num_classes), rows in table.groupby(["part", "num_classes"], sort=False):
        lines += [
            "",
            f"{num_classes:,} classes, {rounds_of(str(part), config)} rounds:",
            "",
            "| head | ms | times Dense | quartiles | memory, MB |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.case} | {row.milliseconds:.4g} | {row.ratio:.2f} "
            f"| {row.ratio_low:.2f} to {row.ratio_high:.2f} | {row.megabytes:,.0f} |"
            for row in rows.itertuples()
        ]
    return "\n".join(lines) + "\n"


def draw_scaling(table: pd.DataFrame) -> Figure:
    """Time and memory over the number of classes."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.plot_scaling(left, table, "milliseconds", "milliseconds a step")
    plots.plot_scaling(right, table, "megabytes", "MB taken, without kernel and gradient")
    plots.legend_below(figure, left, columns=3)
    return figure


def write_programs(config: HeadBenchmarkConfig, folder: Path) -> None:
    """The steps of Dense and of three A-Softmax heads as XLA programs, for `tools/run_hlo.py`."""
    c = config.num_classes

    def losses_of(head):
        def losses(embeddings, kernel, labels):
            kernels = tf.split(kernel, head.block_sizes(), axis=1)
            step = tf.constant(1, tf.int64)
            return head.compute_losses(
                labels, head.forward(embeddings, kernels, [], step, True)
            ).losses

        return losses

    programs = {
        "dense": dense_losses,
        "asoftmax": losses_of(HEADS[ASOFTMAX](c)),
        "asoftmax_unit": losses_of(HEADS[PROJECTED](c)),
        "asoftmax_blocks": losses_of(HEADS[BLOCKS](c)),
    }
    recipe = [
        {"shape": [config.batch_size, config.embedding_size], "dtype": "float32", "scale": 1.0},
        # Of unit length to within a few per cent, as the unit kernel wants it.
        {
            "shape": [config.embedding_size, c],
            "dtype": "float32",
            "scale": config.embedding_size**-0.5,
        },
        {"shape": [config.batch_size], "dtype": "int32", "below": c},
    ]
    for name, losses in programs.items():
        hlo.write_program(folder / name, _step_of(losses), recipe, config.seed)


def _step_of(losses):
    """Losses of (embeddings, kernel, labels) -> their mean and its gradients by the first two."""

    def step(embeddings, kernel, labels):
        with tf.GradientTape() as tape:
            tape.watch([embeddings, kernel])
            loss = tf.reduce_mean(losses(embeddings, kernel, labels))
        return loss, *tape.gradient(loss, [embeddings, kernel])

    return step


# Layers, people, and how far the seed is from the first.
NETWORKS = ((4, 10, 0), (4, 40, 1), (10, 10, 2), (10, 40, 3), (4, 10, 4))
IMAGES_PER_PERSON = 20
ALLOWED_LOSS = 0.02  # of training accuracy, against m = 1


def benchmark_convergence(config: ConvergenceBenchmarkConfig) -> str:
    """Train networks on generated faces with m = 1 and larger ones; compare their accuracies.

    Head and annealing have their default settings. The accuracy is that on training images,
    without the margin, over the last fifth of the steps.

    Returns:
        The text of convergence.md.
    """
    if config.total_steps < 5:
        raise ValueError(f"`total_steps` must be >= 5. Received: {config.total_steps}")
    if not 1 <= config.networks <= len(NETWORKS):
        raise ValueError(f"`networks` must be 1 to {len(NETWORKS)}. Received: {config.networks}")
    if config.workers < 1:
        raise ValueError(f"`workers` must be >= 1. Received: {config.workers}")
    out, jobs = Path(config.out), []
    for layers, people, offset in NETWORKS[: config.networks]:
        seed = config.seed + offset
        faces = out / f"faces-{people}-{seed}"
        data = generated_records(faces, people, IMAGES_PER_PERSON, 0, seed)
        for m in (1, *config.m):
            settings = TrainConfig(
                data=str(data.records),
                workdir=str(out / f"run-{layers}-{people}-{seed}-{m}"),
                backbone=f"sphereface{layers}",
                width=config.width,
                embedding_size=128,
                m=m,
                batch_size=config.batch_size,
                total_steps=config.total_steps,
                optimizer="adam",
                learning_rate=1e-3,
                log_steps=max(1, config.total_steps // 5),
                seed=seed,
            )
            jobs.append(({"layers": layers, "people": people, "seed": seed, "m": m}, settings))
    threads = concurrent.futures.ThreadPoolExecutor(config.workers)
    with threads, progress_bar(total=len(jobs), unit="run") as progress:
        runs = [threads.submit(in_new_process, train, job[1]) for job in jobs]
        for run in concurrent.futures.as_completed(runs):
            run.result()
            progress.update()
    rows = []
    for facts, settings in jobs:
        last = pd.read_csv(Path(settings.workdir) / "log.csv").iloc[-1]
        rows.append({**facts, **last[["accuracy", "loss", "annealing_lambda"]]})
    table = pd.DataFrame(rows)
    keys = ["layers", "people", "seed"]
    plain = table[table["m"] == 1].set_index(keys)["accuracy"].rename("accuracy_of_m_1")
    table = table.join(plain, on=keys)
    table["converged"] = table["accuracy"] >= table["accuracy_of_m_1"] - ALLOWED_LOSS
    table.to_csv(out / "convergence.csv", index=False, float_format="%.4g")
    text = describe_convergence(table, config)
    (out / "convergence.md").write_text(text, encoding="utf-8")
    return text


def describe_convergence(table: pd.DataFrame, config: ConvergenceBenchmarkConfig) -> str:
    """The results as Markdown."""
    runs = table[table["m"] > 1]
    lines = [
        f"{int(runs['converged'].sum())} of {len(runs)} runs reach the training accuracy of m = 1 "
        f"less {100 * ALLOWED_LOSS:.0f} points ({config.total_steps} steps, lambda at the end "
        f"{runs['annealing_lambda'].iloc[-1]:.1f}).",
        "",
        "| layers | people | seed | " + " | ".join(f"m = {m}" for m in (1, *config.m)) + " |",
        "|---" * (4 + len(config.m)) + "|",
    ]
    for key, rows in table.groupby(["layers", "people", "seed"], sort=False):
        accuracies = [f"{100 * value:.1f} %" for value in rows["accuracy"]]
        lines.append("| " + " | ".join([*map(str, key), *accuracies]) + " |")
    return "\n".join(lines) + "\n"


COMMANDS: dict[str, Any] = {
    "head": HeadBenchmarkConfig,
    "convergence": ConvergenceBenchmarkConfig,
    "data": DataBenchmarkConfig,
    "train": TrainBenchmarkConfig,
    "evaluate": EvaluateBenchmarkConfig,
}


def run(command: str, config: Any) -> str:
    """Run a benchmark of `COMMANDS` and return its results as text."""
    benchmarks: dict[str, Callable[[Any], str]] = {
        "head": benchmark_heads,
        "convergence": benchmark_convergence,
        "data": benchmark_data,
        "train": benchmark_training,
        "evaluate": benchmark_evaluation,
    }
    return benchmarks[command](config)
