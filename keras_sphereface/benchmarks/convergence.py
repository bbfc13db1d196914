"""Benchmark of convergence: does A-Softmax reach the training accuracy of m = 1?"""

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.benchmarks.processes import in_new_process
from keras_sphereface.config import ConvergenceBenchmarkConfig, TrainConfig
from keras_sphereface.config.scaling import PAPER_GAMMA
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.training.train import train
from keras_sphereface.utils.progress import progress_bar, shown_on
from keras_sphereface.utils.text import counted
from keras_sphereface.utils.validation import check_integer, require

# Layers of the network, identities, and how far the seed is from the first.
NETWORKS = ((4, 10, 0), (4, 40, 1), (10, 10, 2), (10, 40, 3), (4, 10, 4))
IMAGES_PER_IDENTITY = 20
ALLOWED_LOSS = 0.02  # of training accuracy, against m = 1
KEYS = ["layers", "num_identities", "seed"]


def benchmark_convergence(config: ConvergenceBenchmarkConfig) -> str:
    """Train networks on generated faces with m = 1 and larger m, and compare their accuracies.

    The annealing is that of the paper. The accuracy is that on training images,
    without the margin, over the last fifth of the steps.

    Returns:
        The text of convergence.md.

    Raises:
        ValueError: If a number is too small or too large.
    """
    _check(config)
    out = Path(config.out)
    runs, shared = [], _shared_settings(config)
    for layers, num_identities, offset in NETWORKS[: config.num_networks]:
        seed = config.seed + offset
        faces = out / f"faces-{num_identities}-{seed}"
        data = generated_records(faces, num_identities, IMAGES_PER_IDENTITY, 0, seed).records
        for m in (1, *config.m):
            settings = dataclasses.replace(
                shared,
                data=str(data),
                workdir=str(out / f"run-{layers}-{num_identities}-{seed}-{m}"),
                backbone=f"sphereface{layers}",
                m=m,
                seed=seed,
            )
            runs.append(((layers, num_identities, seed, m), settings))
    _train_all([settings for _, settings in runs], config.workers)
    table = _results(runs)
    table.to_csv(out / "convergence.csv", index=False, float_format="%.4g")
    text = describe_convergence(table, config.total_steps)
    (out / "convergence.md").write_text(text, encoding="utf-8")
    return text


def _check(config: ConvergenceBenchmarkConfig) -> None:
    check_integer(config.total_steps, "total_steps", 5)
    check_integer(config.workers, "workers", 1)
    rule = f"`num_networks` must be from 1 to {len(NETWORKS)}."
    is_allowed = 1 <= config.num_networks <= len(NETWORKS)
    require(is_allowed, rule, num_networks=config.num_networks)


def _shared_settings(config: ConvergenceBenchmarkConfig) -> TrainConfig:
    return TrainConfig(
        width=config.width,
        embedding_size=128,
        batch_size=config.batch_size,
        total_steps=config.total_steps,
        optimizer="adam",
        learning_rate=1e-3,
        lr_warmup_steps=0,
        clipnorm=0.0,
        gamma=PAPER_GAMMA,
        log_steps=max(1, config.total_steps // 5),
    )


def _train_all(settings: Sequence[TrainConfig], workers: int) -> None:
    """Train each in a separate process, `workers` of them at the same time."""
    threads = concurrent.futures.ThreadPoolExecutor(workers)
    with threads, progress_bar(total=len(settings), unit="run", desc="training") as progress:
        runs = [threads.submit(in_new_process, train_silently, one) for one in settings]
        for run in concurrent.futures.as_completed(runs):
            run.result()
            progress.update()


def train_silently(settings: TrainConfig) -> None:
    """Train with progress and messages in WORKDIR/output.txt: others train at the same time."""
    workdir = Path(settings.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / "output.txt", "a", encoding="utf-8") as file, shown_on(file):
        train(settings)


def _results(runs: Sequence[tuple[tuple[int, int, int, int], TrainConfig]]) -> pd.DataFrame:
    """Return a row for each run: its keys, the end of its log, and whether it converged."""
    rows = []
    for keys, settings in runs:
        last = pd.read_csv(Path(settings.workdir) / "log.csv").iloc[-1]
        logged = last[["accuracy", "loss", "annealing_lambda"]]
        rows.append({**dict(zip([*KEYS, "m"], keys, strict=True)), **logged})
    table = pd.DataFrame(rows)
    baseline = table[table["m"] == 1].set_index(KEYS)["accuracy"].rename("baseline_accuracy")
    table = table.join(baseline, on=KEYS)
    return table.assign(converged=table["accuracy"] >= table["baseline_accuracy"] - ALLOWED_LOSS)


def describe_convergence(table: pd.DataFrame, total_steps: int) -> str:
    """Return the results as Markdown."""
    runs = table[table["m"] > 1]
    margins = [f"m = {m}" for m in np.unique(table["m"])]
    rows = [
        [*key, *(f"{100 * value:.1f} %" for value in group.sort_values("m")["accuracy"])]
        for key, group in table.groupby(KEYS, sort=False)
    ]
    return (
        f"{int(runs['converged'].sum())} of {len(runs)} runs reach the training accuracy of m = 1 "
        f"less {100 * ALLOWED_LOSS:.0f} points ({counted(total_steps, 'step')}, lambda at the end "
        f"{runs['annealing_lambda'].iloc[-1]:.1f}).\n\n"
        + markdown_table(["layers", "identities", "seed", *margins], rows)
    )
