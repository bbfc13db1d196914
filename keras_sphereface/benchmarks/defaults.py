"""Benchmark of the defaults: does a run learn at any batch size where no rate was set?"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_sphereface.config import DefaultsBenchmarkConfig, TrainConfig
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.data.records import read_info
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.models import sphereface
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.step import MEANS
from keras_sphereface.training.trainer import Trainer
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import check_integer

NUM_IDENTITIES, IMAGES_PER_IDENTITY = 60, 20
LAST_SHARE = 0.1  # of the steps, over which the loss at the end is averaged
CSV_FILE, MARKDOWN_FILE = "defaults.csv", "defaults.md"


def benchmark_defaults(config: DefaultsBenchmarkConfig) -> str:
    """Train with the default rate, warm-up, clipping and annealing; count runs that diverge.

    Each run adds its row to defaults.csv when it ends.

    Returns:
        The text of defaults.md.

    Raises:
        ValueError: If a number is too small.
    """
    for name in ("total_steps", "num_seeds", "shrink"):
        check_integer(getattr(config, name), name, 1)
    out, rows = Path(config.out), []
    faces = out / "faces"
    data = generated_records(faces, NUM_IDENTITIES, IMAGES_PER_IDENTITY, 0, config.seed).records
    seeds = range(config.seed, config.seed + config.num_seeds)
    cases = [(layers, size) for layers in config.layers for size in config.batch_sizes]
    with progress_bar(total=len(cases) * len(seeds), unit="run", desc="training") as progress:
        for layers, batch_size in cases:
            settings = _settings(config, str(data), batch_size)
            for values in _train(settings, layers, config.shrink, seeds):
                rows.append({"layers": layers, "batch_size": batch_size, **values})
                table = pd.DataFrame(rows)
                table.to_csv(out / CSV_FILE, index=False, float_format="%.4g")
                progress.update()
    text = describe_defaults(table, math.log(NUM_IDENTITIES))
    (out / MARKDOWN_FILE).write_text(text, encoding="utf-8")
    return text


def _settings(config: DefaultsBenchmarkConfig, data: str, batch_size: int) -> TrainConfig:
    return TrainConfig(
        data=data,
        workdir="",
        width=config.width,
        embedding_size=config.embedding_size,
        batch_size=batch_size,
        total_steps=config.total_steps,
        optimizer=config.optimizer,
    )


def _train(
    config: TrainConfig, layers: int, shrink: int, seeds: Iterable[int]
) -> Iterator[dict[str, float]]:
    """Train in memory, without files of a run; yield the results of each seed."""

    def backbone(input_shape: tuple[int, ...], embedding_size: int, seed: int) -> keras.Model:
        small = keras.layers.AveragePooling2D(shrink)
        shape = (input_shape[0] // shrink, input_shape[1] // shrink, 3)
        network = sphereface(layers, shape, embedding_size, config.width, seed)
        image = keras.Input(input_shape)
        return keras.Model(image, network(small(image)))

    strategy, info = make_strategy(), read_info(config.data)
    trainer = build_trainer(config, info, strategy, backbone)
    step = build_step(config, trainer)
    for seed in seeds:
        # One compiled step serves all seeds, which start from weights of their own.
        seeded = dataclasses.replace(config, seed=seed)
        start = build_trainer(seeded, info, strategy, backbone)
        for variable, value in zip(_state(trainer), _state(start), strict=True):
            variable.assign(value)
        batches = iter(distributed_batches(seeded, strategy, 0))
        sums = (step(batches).numpy()[: len(MEANS)] for _ in range(config.total_steps))
        means = list(_until_divergence(values / config.batch_size for values in sums))
        yield {"seed": seed, **_results(np.asarray(means), config)}


def _state(trainer: Trainer) -> list[Any]:
    """Everything that a step changes."""
    return [*trainer.backbone.weights, *trainer.head.weights, *trainer.optimizer.variables]


def _until_divergence(means: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the means of each step, up to the first whose loss is not finite."""
    for values in means:
        yield values
        if not math.isfinite(values[0]):
            return


def _results(means: np.ndarray, config: TrainConfig) -> dict[str, float]:
    """Return the row of a run: means (T, len(MEANS)) of its steps."""
    last = means[-max(1, round(LAST_SHARE * config.total_steps)) :]
    return {
        "steps": len(means),
        "diverged": not math.isfinite(means[-1, 0]),
        "highest_loss": float(np.max(means[:, 0])),
        **dict(zip(MEANS, np.mean(last, axis=0).tolist(), strict=True)),
        "last_lambda": float(means[-1, MEANS.index("annealing_lambda")]),
        "lambda_min": config.lambda_min,
    }


def describe_defaults(table: pd.DataFrame, uninformative_loss: float) -> str:
    """Return the results as Markdown.

    Args:
        table: A row for each run, as defaults.csv has them.
        uninformative_loss: ln C of its identities.
    """
    rows = []
    for key, group in table.groupby(["layers", "batch_size"], sort=False):
        reached = group["last_lambda"] <= group["lambda_min"] * (1 + 1e-6)
        losses, accuracy = group["loss"], 100 * group["accuracy"].mean()
        rows.append(
            [
                *key,
                f"{int(group['diverged'].sum())} of {len(group)}",
                f"{int(reached.sum())} of {len(group)}",
                f"{losses.mean():.2f}",
                f"{losses.max():.2f}",
                f"{accuracy:.0f} %",
            ]
        )
    header = ["layers", "batch", "diverged", "lambda_min reached"]
    header += ["mean loss", "highest loss", "training accuracy"]
    return (
        f"{int(table['diverged'].sum())} of {len(table)} runs of {int(table['steps'].max())} steps "
        f"diverged. Loss with the margin at the end, ln C = {uninformative_loss:.2f}.\n\n"
        + markdown_table(header, rows)
    )
