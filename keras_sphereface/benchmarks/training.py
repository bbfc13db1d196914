"""Benchmark of training: what a whole step costs beside network and Dense, and on more devices.

Every case is a process of its own that runs what users run, `training.train`, and waits in front
of a step until it is its turn.
"""

import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.benchmarks.interleaved import Case, Program, TakesTurns
from keras_sphereface.benchmarks.timing import Comparison, compare, comparison_lines, in_turns
from keras_sphereface.config import TrainBenchmarkConfig, TrainConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.distribute.launcher import visible_gpus, worker_environments
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.heads.angular_head import DEFAULT_BLOCK_SIZE
from keras_sphereface.training.train import distributed_batches, train
from keras_sphereface.training.trainer import backbone_by_name, make_step, make_trainer
from keras_sphereface.utils.environment import first_gpu, held_memory, machine
from keras_sphereface.utils.progress import progress_bar

PLAIN = "network + Dense, forward and backward"
UPDATED = "network + Dense, with update"
WHOLE = "whole step"
DEVICES = "whole step, {} devices"
WORKERS = "whole step, {} workers"
SPLIT = "whole step, {} devices, classes split"
# All processes are there at once: none may take all memory of a GPU.
SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def comparisons(split: int) -> tuple[Comparison, ...]:
    """What is compared with what, for so many devices."""
    return (
        Comparison(WHOLE, UPDATED, 0.95),
        Comparison(WHOLE, PLAIN, 0.95),
        Comparison(DEVICES.format(split), WHOLE, 0.90),
        Comparison(WORKERS.format(split), WHOLE, 0.90),
        Comparison(SPLIT.format(split), WHOLE, None),
    )


def benchmark_training(config: TrainBenchmarkConfig) -> str:
    """Measure, and write train.csv and train.md.

    Returns:
        The text of train.md.

    Raises:
        ValueError: if the numbers cannot be measured.
        RuntimeError: if a process ends too early; its output is in the folder.
    """
    if min(config.steps, config.repeats, config.split) < 1 or config.batch_size % config.split:
        raise ValueError(
            "`steps`, `repeats` and `split` must be >= 1, and `split` must divide `batch_size`. "
            f"Received: steps={config.steps}, repeats={config.repeats}, split={config.split}, "
            f"batch_size={config.batch_size}"
        )
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not config.data:
        made = generated_records(folder / "generated", config.num_classes, 2, 0, config.seed)
        config = dataclasses.replace(config, data=str(made.records))
    num_classes = records.read_info(config.data).num_identities
    with contextlib.ExitStack() as stack:
        cases = {
            name: stack.enter_context(Case(name, folder, programs))
            for name, programs in programs_of(config, folder).items()
        }
        rng = np.random.default_rng(config.seed)
        rounds = in_turns([case.turn for case in cases.values()], 1 + config.repeats, rng)
        next(rounds)  # what is compiled is compiled after it
        bar = progress_bar(rounds, total=config.repeats, unit="round")
        seconds = pd.DataFrame(list(bar), columns=list(cases))
    num_images = config.steps * config.batch_size
    table = compare(seconds, comparisons(config.split), num_images)
    table.to_csv(folder / "train.csv", index=False, float_format="%.4g")
    for run in folder.glob("run-*"):
        shutil.rmtree(run)
    text = describe_training(table, config, num_classes)
    if config.memory_classes:
        text += "\n" + describe_memory(measure_split_memory(config, folder), config)
    (folder / "train.md").write_text(text, encoding="utf-8")
    return text


def programs_of(config: TrainBenchmarkConfig, folder: Path) -> dict[str, list[Program]]:
    """{case: what its processes do}."""
    split = config.split

    def whole(name, workers=1, devices=1, **settings):
        workdir = folder / f"run-{name}"
        shutil.rmtree(workdir, ignore_errors=True)
        arguments = (config, str(workdir), devices, settings)
        return [Program(run_training, arguments, found) for found in clusters(workers)]

    return {
        PLAIN: [Program(run_plain, (config, False), SHARING)],
        UPDATED: [Program(run_plain, (config, True), SHARING)],
        WHOLE: whole("one"),
        DEVICES.format(split): whole("devices", devices=split),
        WORKERS.format(split): whole("workers", split),
        SPLIT.format(split): whole("split", devices=split, shard_classes=True),
    }


def clusters(workers: int) -> list[dict[str, str]]:
    """What tells each of several workers who it is, and which GPUs it has."""
    if workers == 1:
        return [SHARING]
    names = ("TF_CONFIG", "CUDA_VISIBLE_DEVICES")
    return [
        {**SHARING, **{name: found[name] for name in names if name in found}}
        for found in worker_environments(workers, visible_gpus())
    ]


def measure_split_memory(
    config: TrainBenchmarkConfig, folder: Path, counts: Sequence[int] = (1, 2, 4)
) -> dict[int, float]:
    """{workers: the most bytes that one takes} for training with `memory_classes` classes, split.

    The workers are processes. What a run with few classes takes is not counted.
    """
    results = {}
    for workers in progress_bar(counts, unit="count", desc="memory of split heads"):
        programs = [Program(run_split, (config,), found) for found in clusters(workers)]
        with Case(f"memory, {workers} workers", folder, programs) as case:
            results[workers] = case.turn()
    return results


def use_devices(count: int) -> None:
    """Let this process see so many devices: GPUs if there are any, else parts of the CPU.

    Raises:
        ValueError: if there are GPUs, but fewer.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
    elif len(gpus) < count:
        raise ValueError(
            f"`split` must be at most the number of GPUs, {len(gpus)}. Received: {count}"
        )
    else:
        tf.config.set_visible_devices(gpus[:count], "GPU")


def run_training(
    connection: Connection,
    config: TrainBenchmarkConfig,
    workdir: str,
    devices: int,
    settings: dict[str, Any],
) -> None:
    """Train as `examples/train_casia.py` does, in turns and without an end."""
    use_devices(devices)
    train(
        TrainConfig(
            data=config.data,
            workdir=workdir,
            backbone=config.backbone,
            width=config.width,
            batch_size=config.batch_size,
            seed=config.seed,
            # The authors' 0.1 is for batches of 256; speed must not be that of a run that diverged.
            learning_rate=0.001,
            **settings,
        ),
        callbacks=[TakesTurns(connection, config.steps)],
    )


def run_split(connection: Connection, config: TrainBenchmarkConfig) -> None:
    """Answer with the bytes that two steps with many classes take, split over the workers.

    Beyond those of a run with few classes, which takes what libraries and the network take.
    """
    connection.recv()
    use_devices(1)
    strategy, info = make_strategy(), records.read_info(config.data)
    settings = TrainConfig(
        data=config.data,
        backbone="sphereface4",
        width=0.05,
        batch_size=config.batch_size,
        shard_classes=True,
        # The same for any number of workers, also where the head would choose another.
        block_size=DEFAULT_BLOCK_SIZE,
        seed=config.seed,
    )

    def take_two_steps(num_classes):
        many = dataclasses.replace(info, num_identities=num_classes)
        trainer = make_trainer(settings, many, 2, strategy)
        batches = iter(distributed_batches(settings, strategy, 0))
        step = make_step(trainer, settings)
        for _ in range(2):
            step(batches).numpy()

    take_two_steps(info.num_identities)
    gpu = first_gpu()
    before, _ = held_memory(gpu)
    take_two_steps(config.memory_classes)
    connection.send(held_memory(gpu)[1] - before)


def run_plain(connection: Connection, config: TrainBenchmarkConfig, update: bool) -> None:
    """The same network and a Dense layer on a batch that lies in memory, in turns."""
    use_devices(1)
    keras.utils.set_random_seed(config.seed)
    info = records.read_info(config.data)
    shape = (*info.image_size, 3)
    network = backbone_by_name(config.backbone, config.width)(
        input_shape=shape, embedding_size=512, seed=config.seed
    )
    model = keras.Sequential([network, keras.layers.Dense(info.num_identities)])
    model.build((None, *shape))
    optimizer = keras.optimizers.SGD(0.001, momentum=0.9)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(config.seed)
    images = tf.constant(rng.uniform(-1.0, 1.0, (config.batch_size, *shape)), tf.float32)
    labels = tf.constant(rng.integers(0, info.num_identities, config.batch_size))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        if update:
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss, []
        return loss, gradients

    turns = TakesTurns(connection, config.steps)
    turns.set_model(model)
    for batch in itertools.count():
        turns.on_train_batch_begin(batch)
        step()
        tf.test.experimental.sync_devices()
        turns.on_train_batch_end(batch)


def describe_training(table: pd.DataFrame, config: TrainBenchmarkConfig, num_classes: int) -> str:
    """The results as Markdown."""
    width = f", width {config.width:g}" if config.width != 1.0 else ""
    lines = [
        f"{config.backbone}{width}, batches of {config.batch_size} in all, {num_classes:,} "
        f"classes, float32; {config.repeats} rounds of {config.steps} steps in which all cases "
        "take turns; ratios are those of one round, medians with quartiles.",
        f"Machine: {machine()}.",
        "",
        *comparison_lines(table),
    ]
    return "\n".join(lines) + "\n"


def describe_memory(most: dict[int, float], config: TrainBenchmarkConfig) -> str:
    """The memory of a head that is split over workers, as Markdown."""
    lines = [
        f"Classes split over workers: what {config.memory_classes:,} classes take in each worker "
        "at the peak of a step, with embeddings of 512 and SGD with momentum:",
        "",
        "| workers | MB in each | part of that of one |",
        "|---|---|---|",
    ]
    for workers, held in most.items():
        lines.append(f"| {workers} | {held / 1e6:,.0f} | {held / most[1]:.3f} |")
    return "\n".join(lines) + "\n"
