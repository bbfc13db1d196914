"""Benchmark of training: a whole step beside network and Dense alone, and on several devices.

Every case is a separate process that runs what users run, `training.train`.
"""

import contextlib
import dataclasses
import itertools
import os
import shutil
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface.benchmarks.interleaved import (
    RateComparison,
    compare_rates,
    interleaved_seconds,
    rates_table,
)
from keras_sphereface.benchmarks.processes import ProcessCase, Program, RoundTimer
from keras_sphereface.benchmarks.step_memory import describe_step_memory, measure_memory_of_steps
from keras_sphereface.config import TrainBenchmarkConfig, TrainConfig
from keras_sphereface.data import records
from keras_sphereface.data.conversion.generated import generated_records
from keras_sphereface.distribute.launcher import visible_gpus, worker_environments
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.heads.angular_head import DEFAULT_BLOCK_SIZE
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.training.backbones import backbone_by_name
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.train import precision, train
from keras_sphereface.utils.environment import first_gpu, held_memory, machine
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.startup import ONEDNN
from keras_sphereface.utils.validation import check_integer, require

PLAIN = "network + Dense, forward and backward"
UPDATED = "network + Dense, with update"
WHOLE = "whole step"
DEVICES = "whole step, {} devices"
WORKERS = "whole step, {} workers"
HALF = "whole step, {} workers, float16 gradients"
VARIANT = "whole step, --{}"
SHARDED = "whole step, {} devices, classes sharded"
# All processes run at once: none may take all memory of a GPU. Their kernels are those of
# `sphereface train`.
SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", ONEDNN: os.environ.get(ONEDNN, "1")}
CLUSTER_VARIABLES = ("TF_CONFIG", "CUDA_VISIBLE_DEVICES")
EMBEDDING_SIZE = 512
IDENTITIES_WITH_FACES = 128
MEMORY_STEPS = 3
LEARNING_RATE = 0.001  # 0.1 is for batches of 256; a run that diverged has another speed


def comparisons(num_devices: int, variants: Sequence[str] = ()) -> tuple[RateComparison, ...]:
    """Return the comparisons of one device with the bare network, several devices, other flags."""
    shared = (
        RateComparison(DEVICES.format(num_devices), WHOLE, 0.90),
        RateComparison(WORKERS.format(num_devices), WHOLE, 0.90),
        RateComparison(HALF.format(num_devices), WHOLE, 0.90),
        RateComparison(SHARDED.format(num_devices), WHOLE),
    )
    return (
        RateComparison(WHOLE, UPDATED, 0.95),
        RateComparison(WHOLE, PLAIN, 0.95),
        *(shared if num_devices > 1 else ()),
        *(RateComparison(VARIANT.format(variant), WHOLE) for variant in variants),
    )


def benchmark_training(config: TrainBenchmarkConfig) -> str:
    """Measure, and write train.csv and train.md.

    Returns:
        The text of train.md.

    Raises:
        ValueError: If a number is too small, or the devices do not divide the batch.
        RuntimeError: If a process ends too early; its output is in the folder.
    """
    for name in ("steps", "repeats", "num_devices"):
        check_integer(getattr(config, name), name, 1)
    for variant in config.variants:
        variant_settings(variant)
    require(
        config.batch_size % config.num_devices == 0,
        "`num_devices` must divide `batch_size`.",
        num_devices=config.num_devices,
        batch_size=config.batch_size,
    )
    folder = Path(config.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not config.data:
        generated = timing_records(folder, config.num_classes, config.seed)
        config = dataclasses.replace(config, data=generated)
    programs = make_programs(
        training_settings(config), folder, config.num_devices, config.steps, config.variants
    )
    with contextlib.ExitStack() as stack:
        cases = {
            name: stack.enter_context(ProcessCase(name, folder, processes))
            for name, processes in programs.items()
        }
        seconds = interleaved_seconds(
            {name: case.run_round for name, case in cases.items()}, config.repeats, config.seed
        )
    num_images = config.steps * config.batch_size
    rates = compare_rates(seconds, comparisons(config.num_devices, config.variants), num_images)
    rates.to_csv(folder / "train.csv", index=False, float_format="%.4g")
    for run in folder.glob("run-*"):
        shutil.rmtree(run)
    text = describe_training(rates, config)
    if config.step_memory:
        settings = dataclasses.replace(training_settings(config), workdir=str(folder / "memory"))
        changes: dict[str, dict[str, Any]] = {WHOLE: {}} | {
            VARIANT.format(variant): variant_settings(variant) for variant in config.variants
        }
        steps = {
            name: Program(run_step, (dataclasses.replace(settings, **changed),), SHARED_GPU)
            for name, changed in changes.items()
        }
        text += "\n" + describe_step_memory(measure_memory_of_steps(steps, folder))
    if config.memory_classes:
        settings = memory_settings(config.data, config.batch_size, config.seed)
        peaks = measure_sharded_memory(settings, config.memory_classes, folder)
        text += "\n" + describe_memory(peaks, config.memory_classes)
    (folder / "train.md").write_text(text, encoding="utf-8")
    return text


def timing_records(folder: Path, num_classes: int, seed: int) -> str:
    """Generate records for a timing; return their folder.

    The head has a class weight for each of `num_classes` identities, of which only the first
    `IDENTITIES_WITH_FACES` have faces: a step takes the same time, and a set of faces for all would
    take longer to draw than the whole measurement.

    Args:
        folder: Folder for the faces and the records.
        num_classes: Int >= 2.
        seed: Int. Seed of the faces.

    Example:
        >>> records.read_info(timing_records(Path("timing"), 300, 0)).num_identities
        300
    """
    drawn = min(num_classes, IDENTITIES_WITH_FACES)
    made = generated_records(folder / "generated", drawn, 2, 0, seed).records
    info = dataclasses.replace(records.read_info(made), num_identities=num_classes)
    (made / records.INFO_FILE).write_text(info.to_json(), encoding="utf-8")
    return str(made)


def describe_training(rates: pd.DataFrame, config: TrainBenchmarkConfig) -> str:
    """Return the rates of the cases as Markdown."""
    num_classes = records.read_info(config.data).num_identities
    width = f", width {config.width:g}" if config.width != 1.0 else ""
    return (
        f"{config.backbone}{width}, batches of {config.batch_size} in all, {num_classes:,} "
        f"classes, float32; {config.repeats} interleaved rounds of {config.steps} steps; ratios "
        f"are those of one round, medians with quartiles.\nMachine: {machine()}.\n\n"
        f"{rates_table(rates)}"
    )


def training_settings(config: TrainBenchmarkConfig) -> TrainConfig:
    """Return the settings that all trainings of the benchmark share."""
    return TrainConfig(
        data=config.data,
        backbone=config.backbone,
        width=config.width,
        batch_size=config.batch_size,
        seed=config.seed,
        learning_rate=LEARNING_RATE,
        lr_warmup_steps=0,
        clipnorm=0.0,
    )


def make_programs(
    settings: TrainConfig,
    folder: Path,
    num_devices: int,
    steps: int,
    variants: Sequence[str] = (),
) -> dict[str, list[Program]]:
    """Return the processes of each case.

    Args:
        settings: Settings of the training.
        folder: Folder for the runs.
        num_devices: Int. Devices, or workers, that share the work of one; 1: there are no such
            cases.
        steps: Int. Training steps of a round.
        variants: As of `variant_settings`, each a case.
    """

    def whole(name: str, workers: int = 1, devices: int = 1, **changes: Any) -> list[Program]:
        workdir = folder / f"run-{name}"
        shutil.rmtree(workdir, ignore_errors=True)
        run = dataclasses.replace(settings, workdir=str(workdir), **changes)
        arguments = (run, devices, steps)
        return [Program(run_training, arguments, worker) for worker in clusters(workers)]

    count = num_devices
    shared = {
        DEVICES.format(count): whole("devices", devices=count),
        WORKERS.format(count): whole("workers", workers=count),
        HALF.format(count): whole("half", workers=count, gradient_precision="float16"),
        SHARDED.format(count): whole("sharded", devices=count, shard_classes=True),
    }
    return {
        PLAIN: [Program(run_plain, (settings, steps, False), SHARED_GPU)],
        UPDATED: [Program(run_plain, (settings, steps, True), SHARED_GPU)],
        WHOLE: whole("one"),
        **(shared if count > 1 else {}),
        **{
            VARIANT.format(variant): whole(f"variant-{number}", **variant_settings(variant))
            for number, variant in enumerate(variants)
        },
    }


def variant_settings(variant: str) -> dict[str, Any]:
    """Return the settings of a flag of `sphereface train`, without its dashes: NAME or NAME=VALUE.

    Raises:
        ValueError: If there is no such switch, or no such flag with a word as its value.

    Example:
        >>> variant_settings("remat"), variant_settings("precision=mixed_bfloat16")
        ({'remat': True}, {'precision': 'mixed_bfloat16'})
    """
    flag, _, value = variant.partition("=")
    name = flag.replace("-", "_")
    default = getattr(TrainConfig(), name, None)
    require(
        isinstance(default, str if value else bool),
        "`variants` must be switches of `sphereface train`, or flags with a word as value, as "
        "remat or precision=mixed_bfloat16.",
        variant=variant,
    )
    return {name: value or True}


def clusters(workers: int) -> list[dict[str, str]]:
    """Return the environment variables that make processes the workers of one training."""
    if workers == 1:
        return [SHARED_GPU]
    return [
        SHARED_GPU | {name: worker[name] for name in CLUSTER_VARIABLES if name in worker}
        for worker in worker_environments(workers, visible_gpus())
    ]


def use_devices(count: int) -> None:
    """Let this process see so many devices: GPUs if there are any, otherwise logical CPUs.

    Raises:
        ValueError: If there are GPUs, but fewer.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * count,
        )
    else:
        rule = f"`num_devices` must be at most the number of GPUs, {len(gpus)}."
        require(count <= len(gpus), rule, num_devices=count)
        tf.config.set_visible_devices(gpus[:count], "GPU")


def run_training(connection: Connection, settings: TrainConfig, devices: int, steps: int) -> None:
    """Train as `sphereface train` does, without an end, `steps` steps a round."""
    use_devices(devices)
    train(settings, callbacks=[RoundTimer(connection, steps)])


def run_plain(connection: Connection, settings: TrainConfig, steps: int, update: bool) -> None:
    """Train the same network and a Dense layer on one batch in memory, `steps` steps a round."""
    use_devices(1)
    keras.utils.set_random_seed(settings.seed)
    info = records.read_info(settings.data)
    shape = (*info.image_size, 3)
    network = backbone_by_name(settings.backbone, settings.width, settings.batch_norm)(
        input_shape=shape, embedding_size=EMBEDDING_SIZE, seed=settings.seed
    )
    model = keras.Sequential([network, keras.layers.Dense(info.num_identities)])
    model.build((None, *shape))
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.9)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(settings.seed)
    images = tf.constant(rng.uniform(-1.0, 1.0, (settings.batch_size, *shape)), tf.float32)
    labels = tf.constant(rng.integers(0, info.num_identities, settings.batch_size))

    @tf.function
    def step() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        if update:
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss, []
        return loss, gradients

    timer = RoundTimer(connection, steps)
    timer.set_model(model)
    for batch in itertools.count():
        timer.on_train_batch_begin(batch)
        step()
        tf.test.experimental.sync_devices()
        timer.on_train_batch_end(batch)


def memory_settings(data: str, batch_size: int, seed: int) -> TrainConfig:
    """Return the settings of a small network with a class-sharded head."""
    return TrainConfig(
        data=data,
        backbone="sphereface4",
        width=0.05,
        batch_size=batch_size,
        shard_classes=True,
        # The same for any number of workers, also where the head would choose another.
        block_size=DEFAULT_BLOCK_SIZE,
        clipnorm=0.0,
        seed=seed,
    )


def measure_sharded_memory(
    settings: TrainConfig, num_classes: int, folder: Path, counts: Sequence[int] = (1, 2, 4)
) -> dict[int, float]:
    """Return the peak memory, in bytes, of a class-sharded head in a worker, by number of workers.

    What a run with few classes takes is not counted.

    Args:
        settings: Of `memory_settings`.
        num_classes: Int. Number of classes.
        folder: Folder for the output of the workers.
        counts: Numbers of workers; each is a process.
    """
    peaks = {}
    for workers in progress_bar(counts, unit="count", desc="memory of sharded heads"):
        arguments = (settings, num_classes)
        programs = [Program(run_sharded, arguments, worker) for worker in clusters(workers)]
        with ProcessCase(f"memory, {workers} workers", folder, programs) as case:
            peaks[workers] = case.run_round()
    return peaks


def run_step(connection: Connection, settings: TrainConfig) -> None:
    """Send the bytes that training steps take at their peak.

    Weights, the optimizer's slots and the first batch are there before and do not count.
    """
    connection.recv()
    use_devices(1)
    strategy, info = make_strategy(), records.read_info(settings.data)
    with precision(settings.precision):
        trainer = build_trainer(settings, info, strategy)
    batches = iter(distributed_batches(settings, strategy, 0))
    next(batches)
    step, gpu = build_step(settings, trainer), first_gpu()
    before, _ = held_memory(gpu)
    for _ in range(MEMORY_STEPS):
        step(batches).numpy()
    connection.send(float(held_memory(gpu)[1] - before))


def run_sharded(connection: Connection, settings: TrainConfig, num_classes: int) -> None:
    """Send the bytes that two steps with many classes take, beyond a run with few classes."""
    connection.recv()
    use_devices(1)
    connection.send(memory_of_classes(settings, num_classes, num_steps=2))


def memory_of_classes(settings: TrainConfig, num_classes: int, num_steps: int) -> float:
    """Return the bytes that steps with many classes take at their peak; in a fresh process.

    What steps with the few classes of the records take is not counted.
    """
    strategy, info = make_strategy(), records.read_info(settings.data)

    def take_steps(num_classes: int) -> None:
        many = dataclasses.replace(info, num_identities=num_classes)
        trainer = build_trainer(settings, many, strategy)
        batches = iter(distributed_batches(settings, strategy, 0))
        step = build_step(settings, trainer)
        for _ in range(num_steps):
            step(batches).numpy()

    # First a run with few classes: libraries and network take their memory with it.
    take_steps(info.num_identities)
    gpu = first_gpu()
    before, _ = held_memory(gpu)
    take_steps(num_classes)
    return float(held_memory(gpu)[1] - before)


def describe_memory(peaks: Mapping[int, float], num_classes: int) -> str:
    """Return the memory of a class-sharded head in each worker as Markdown."""
    rows = [
        [workers, f"{peak / 1e6:,.0f}", f"{peak / peaks[1]:.3f}"] for workers, peak in peaks.items()
    ]
    return (
        f"Classes sharded over workers: what {num_classes:,} classes take in each worker at the "
        f"peak of a step, with embeddings of {EMBEDDING_SIZE} and SGD with momentum:\n\n"
        + markdown_table(["workers", "MB in each", "share of one worker"], rows)
    )
