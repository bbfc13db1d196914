"""Benchmark of the defaults: does a run learn at any batch size where no rate was set?"""

import math
from collections.abc import Iterator
from pathlib import Path

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
    runs = list(_runs(config, str(data)))
    with progress_bar(total=len(runs), unit="run", desc="training") as progress:
        for layers, settings in runs:
            rows.append(_train(layers, settings, config.shrink))
            table = pd.DataFrame(rows)
            table.to_csv(out / CSV_FILE, index=False, float_format="%.4g")
            progress.update()
    text = describe_defaults(table, math.log(NUM_IDENTITIES))
    (out / MARKDOWN_FILE).write_text(text, encoding="utf-8")
    return text


def _runs(config: DefaultsBenchmarkConfig, data: str) -> Iterator[tuple[int, TrainConfig]]:
    """Yield the layers of the network and the settings of each run."""
    for layers in config.layers:
        for batch_size in config.batch_sizes:
            for seed in range(config.seed, config.seed + config.num_seeds):
                yield (
                    layers,
                    TrainConfig(
                        data=data,
                        workdir="",
                        width=config.width,
                        embedding_size=config.embedding_size,
                        batch_size=batch_size,
                        total_steps=config.total_steps,
                        optimizer=config.optimizer,
                        seed=seed,
                    ),
                )


def _train(layers: int, config: TrainConfig, shrink: int) -> dict[str, float]:
    """Train in memory, without files of a run; return a row of the table."""

    def backbone(input_shape: tuple[int, ...], embedding_size: int, seed: int) -> keras.Model:
        small = keras.layers.AveragePooling2D(shrink)
        shape = (input_shape[0] // shrink, input_shape[1] // shrink, 3)
        network = sphereface(layers, shape, embedding_size, config.width, seed)
        image = keras.Input(input_shape)
        return keras.Model(image, network(small(image)))

    keras.utils.set_random_seed(config.seed)
    strategy = make_strategy()
    trainer = build_trainer(config, read_info(config.data), strategy, backbone)
    step, means = build_step(config, trainer), []
    batches = iter(distributed_batches(config, strategy, 0))
    for _ in range(config.total_steps):
        means.append(step(batches).numpy()[: len(MEANS)] / config.batch_size)
        if not math.isfinite(means[-1][0]):
            break
    last = max(1, round(LAST_SHARE * config.total_steps))
    values = dict(zip(MEANS, np.mean(means[-last:], axis=0).tolist(), strict=True))
    return {
        "layers": layers,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "steps": len(means),
        "diverged": not math.isfinite(means[-1][0]),
        "highest_loss": float(np.max(np.asarray(means)[:, 0])),
        **values,
        "last_lambda": float(means[-1][MEANS.index("annealing_lambda")]),
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
