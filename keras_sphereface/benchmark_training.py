"""Benchmark of training: what a whole step costs beside network and Dense, and on more devices.

Every case is a process of its own that runs what users run, `training.train`, and waits in front
of a step until it is its turn.
"""

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_sphereface import records, training
from keras_sphereface.config import TrainBenchmarkConfig, TrainConfig
from keras_sphereface.datasets import generated_records
from keras_sphereface.launch import SECONDS_TO_END, worker_environments
from keras_sphereface.measuring import Comparison, compare, comparison_lines, in_turns, machine
from keras_sphereface.progress import progress_bar
from keras_sphereface.trainer import backbone_by_name

PLAIN = "network + Dense, forward and backward"
UPDATED = "network + Dense, with update"
WHOLE = "whole step"
DEVICES = "whole step, {} devices"
WORKERS = "whole step, {} workers"
SPLIT = "whole step, {} devices, classes split"
WAIT = 600.0  # seconds for a turn; the first one compiles


def comparisons(split: int) -> tuple[Comparison, ...]:
    """What is compared with what, for so many devices."""
    return (
        Comparison(WHOLE, UPDATED, 0.95),
        Comparison(WHOLE, PLAIN, None),
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
    num_classes = records.read_info(config.data).num_classes
    with contextlib.ExitStack() as stack:
        cases = {
            name: stack.enter_context(Case(name, folder, processes))
            for name, processes in processes_of(config, folder).items()
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
    (folder / "train.md").write_text(text, encoding="utf-8")
    return text


def processes_of(
    config: TrainBenchmarkConfig, folder: Path
) -> dict[str, list[tuple[Callable, tuple[Any, ...], dict[str, str]]]]:
    """{case: what each of its processes calls after its connection, and its environment}."""
    split = config.split
    environments = [
        {"TF_CONFIG": environment["TF_CONFIG"]} for environment in worker_environments(split)
    ]

    def whole(name, devices=1, **settings):
        workdir = folder / f"run-{name}"
        shutil.rmtree(workdir, ignore_errors=True)
        return run_training, (config, str(workdir), devices, settings)

    return {
        PLAIN: [(run_plain, (config, False), {})],
        UPDATED: [(run_plain, (config, True), {})],
        WHOLE: [(*whole("one"), {})],
        DEVICES.format(split): [(*whole("devices", split), {})],
        WORKERS.format(split): [(*whole("workers"), environment) for environment in environments],
        SPLIT.format(split): [(*whole("split", split, split_classes=True), {})],
    }


class Case:
    """The processes of a case; a context manager, which ends them."""

    def __init__(self, name: str, folder: Path, processes: Sequence[tuple]):
        self.name = name
        self.connections, self.processes, self.logs = [], [], []
        context = multiprocessing.get_context("spawn")
        for index, (function, arguments, environment) in enumerate(processes):
            ours, theirs = context.Pipe()
            log = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{index}.txt"
            arguments = (function, theirs, arguments, environment, str(log))
            # A daemon does not outlive this process.
            self.processes.append(context.Process(target=_serve, args=arguments, daemon=True))
            self.connections.append(ours)
            self.logs.append(log)
            self.processes[-1].start()
            theirs.close()

    def turn(self) -> float:
        """Let the processes take their steps, and return the seconds of the slowest."""
        try:
            for connection in self.connections:
                connection.send("go")
            seconds = []
            for connection in self.connections:
                if not connection.poll(WAIT):
                    raise TimeoutError
                seconds.append(connection.recv())
            return max(seconds)
        except (OSError, EOFError) as error:
            raise RuntimeError(
                f"A process of the case {self.name!r} has ended or does not answer; what it said "
                f"is in {', '.join(map(str, self.logs))}."
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            process.join(SECONDS_TO_END)
            process.kill()
            process.join()


def _serve(function, connection, arguments, environment, log):
    """In a process of a case: everything that it says goes to a file."""
    os.environ.update(environment)
    with open(log, "w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    function(connection, *arguments)


class TakesTurns(keras.callbacks.Callback):
    """Waits in front of every `steps` steps for a word, and answers with the seconds they took."""

    def __init__(self, connection: Connection, steps: int):
        super().__init__()
        self.connection, self.steps = connection, steps

    def on_train_batch_begin(self, batch, logs=None):
        if batch % self.steps == 0:
            try:
                self.connection.recv()
            except EOFError:  # there are no more turns
                sys.exit()
            self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self.steps == 0:
            # Devices work on their own: what a step changes is there when the step is over.
            self.model.trainable_weights[-1].numpy()
            self.connection.send(time.perf_counter() - self.began)


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
    training.train(
        TrainConfig(
            data=config.data,
            workdir=workdir,
            backbone=config.backbone,
            width=config.width,
            batch_size=config.batch_size,
            seed=config.seed,
            # The paper's; from random faces the higher ones lead nowhere.
            learning_rate=0.001,
            **settings,
        ),
        callbacks=[TakesTurns(connection, config.steps)],
    )


def run_plain(connection: Connection, config: TrainBenchmarkConfig, update: bool) -> None:
    """The same network and a Dense layer on a batch that lies in memory, in turns."""
    use_devices(1)
    keras.utils.set_random_seed(config.seed)
    info = records.read_info(config.data)
    shape = (*info.image_size, 3)
    network = backbone_by_name(config.backbone, config.width)(
        input_shape=shape, embedding_size=512, seed=config.seed
    )
    model = keras.Sequential([network, keras.layers.Dense(info.num_classes)])
    model.build((None, *shape))
    optimizer = keras.optimizers.SGD(0.001, momentum=0.9)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(config.seed)
    images = tf.constant(rng.uniform(-1.0, 1.0, (config.batch_size, *shape)), tf.float32)
    labels = tf.constant(rng.integers(0, info.num_classes, config.batch_size))

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
