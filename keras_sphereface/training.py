"""Training: records in, checkpoints, logs and a SavedModel out."""

import csv
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface import angular, augmentation, backbones, export, pipeline, records
from keras_sphereface.config import TrainConfig
from keras_sphereface.datasets import generated_records
from keras_sphereface.family import HEADS, make_head
from keras_sphereface.guard import ConvergenceWatch
from keras_sphereface.heads import AngularHead, check_choice
from keras_sphereface.progress import progress_bar

LOG_FIELDS = (
    "step",
    "epoch",
    "loss",  # with the margin
    "accuracy",  # without the margin
    "annealing_lambda",
    "target_angle",  # mean angle to the own class weight, degrees
    "embedding_norm",  # mean |x|
    "learning_rate",
    "images_per_second",
)
CHECKPOINTS_KEPT = 2
# Settings that may change between a run and its continuation.
MAY_CHANGE = ("data", "workdir", "log_steps", "checkpoint_steps")
SETTINGS_FILE = "config.json"
# The settings of every head; those it does not have must stay at None.
HEAD_SETTINGS = (
    *("m", "scale", "embedding_norm", "gradient", "kernel_norm"),
    *("chunk_size", "sample_rate", "seed"),
)


class Trainer(NamedTuple):
    """Everything that a training step touches; made under one strategy."""

    strategy: tf.distribute.Strategy
    backbone: keras.Model
    head: AngularHead
    optimizer: keras.optimizers.Optimizer

    @property
    def step(self) -> int:
        """The number of optimiser steps taken."""
        return int(self.optimizer.iterations.numpy())


def train(config: TrainConfig, backbone: Callable[..., keras.Model] | None = None) -> Path:
    """Train as `config` says and export the network.

    A run that was stopped continues from its newest checkpoint when it is started again with
    the same settings: weights, optimiser, lambda and place in the data are kept. (A network
    that draws random numbers itself, for dropout say, draws others after that.)

    Args:
        config: the settings; `config.data` is a folder of records, or empty for generated faces.
        backbone: called with `input_shape`, `embedding_size` and `seed`; makes the network in
            place of `config.backbone`. It may be any Keras model from images to vectors.

    Returns:
        The folder of the SavedModel, `WORKDIR/export`.

    Raises:
        FileNotFoundError, ValueError: if the data or the settings cannot be used.
        FloatingPointError: if the loss is no longer finite.
    """
    check_settings(config)
    workdir = Path(config.workdir)
    if not config.data:
        print("No --data given: training on generated faces.", flush=True)
        print("The defaults suit CASIA-WebFace; for a quick run see `make demo`.", flush=True)
        generated = generated_records(workdir / "generated", 60, 20, 40, config.seed)
        config = dataclasses.replace(config, data=str(generated.records))
    info = records.read_info(config.data)
    total_steps = planned_steps(config, info.num_images)
    workdir.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    trainer = make_trainer(config, info, total_steps, backbone)
    checkpoint = tf.train.Checkpoint(
        backbone=trainer.backbone, head=trainer.head, optimizer=trainer.optimizer
    )
    manager = tf.train.CheckpointManager(
        checkpoint, str(workdir / "checkpoints"), max_to_keep=CHECKPOINTS_KEPT
    )
    settings = {**dataclasses.asdict(config), "data_checksum": data_checksum(info)}
    if manager.latest_checkpoint:
        _check_same_settings(settings, workdir)
        checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        print(f"continuing from step {trainer.step}", flush=True)
    text = json.dumps(settings, indent=2)
    (workdir / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")
    if trainer.step < total_steps:
        _run(trainer, manager, config, info, total_steps)
    return export.export_savedmodel(trainer.backbone, workdir / "export")


def check_settings(config: TrainConfig) -> None:
    """Refuse settings that cannot train anything.

    Raises:
        ValueError: naming the setting, what is allowed and what was received.
    """
    ranges = {
        **dict.fromkeys(("batch_size", "total_steps", "log_steps"), (1, math.inf)),
        **dict.fromkeys(("checkpoint_steps", "embedding_size"), (1, math.inf)),
        **dict.fromkeys(("epochs", "learning_rate", "weight_decay"), (0, math.inf)),
        "momentum": (0, 0.999),
        **augmentation.RANGES,
    }
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(
                f"`{name}` must be finite and from {low} to {high}. Received: {name}={value}"
            )
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        if choices and value is not None:
            check_choice(value, field.name, choices)


def planned_steps(config: TrainConfig, num_images: int) -> int:
    """The number of optimiser steps that the settings ask for."""
    if config.epochs > 0:
        return max(1, round(config.epochs * num_images / config.batch_size))
    return config.total_steps


def learning_rate_schedule(config: TrainConfig, total_steps: int):
    """The authors' steps: times 0.1 from 16,000 and from 24,000 of 28,000, in proportion."""
    boundaries = [round(total_steps * n / 28) - 1 for n in (16, 24)]
    rates = [config.learning_rate * factor for factor in (1.0, 0.1, 0.01)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def make_trainer(
    config: TrainConfig,
    info: records.DatasetInfo,
    total_steps: int,
    backbone: Callable[..., keras.Model] | None = None,
) -> Trainer:
    """Network, head and optimiser on a MirroredStrategy over all visible devices."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    if config.batch_size % strategy.num_replicas_in_sync:
        raise ValueError(
            f"`batch_size` is split over {strategy.num_replicas_in_sync} devices and must be a "
            f"multiple of that. Received: batch_size={config.batch_size}"
        )
    with strategy.scope():
        network = (backbone or backbone_by_name(config.backbone, config.width))(
            input_shape=(*info.image_size, 3),
            embedding_size=config.embedding_size,
            seed=config.seed,
        )
        head = head_of(config, info.num_classes)
        head.build(network.output_shape)
        schedule = learning_rate_schedule(config, total_steps)
        optimizer = (
            keras.optimizers.SGD(schedule, momentum=config.momentum)
            if config.optimizer == "sgd"
            else keras.optimizers.Adam(schedule)
        )
        optimizer.build(network.trainable_variables + head.trainable_variables)
    return Trainer(strategy, network, head, optimizer)


def backbone_by_name(name: str, width: float = 1.0) -> Callable[..., keras.Model]:
    """`sphereface20` and its like, or `module:function` for a network of the user's own.

    Raises:
        ValueError: if there is no such network.
    """
    if ":" in name:
        module, function = name.split(":", 1)
        if os.getcwd() not in sys.path:  # a script sees its own folder only
            sys.path.insert(0, os.getcwd())
        try:
            return getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"`backbone` must name a function in a module that can be imported: {error}. "
                f"Received: backbone={name!r}"
            ) from error
    names = {f"sphereface{depth}": depth for depth in backbones.BLOCKS_PER_STAGE}
    if name not in names:
        raise ValueError(
            f"`backbone` must be one of {', '.join(names)} or module:function. "
            f"Received: backbone={name!r}"
        )
    return functools.partial(backbones.sphereface, names[name], width=width)


def head_of(config: TrainConfig, num_classes: int) -> AngularHead:
    """The classification layer that the settings ask for."""
    settings = {name: getattr(config, name) for name in HEAD_SETTINGS}
    if HEADS[config.head].settings.issuperset(angular.Annealing._fields):
        settings |= {name: getattr(config, name) for name in angular.Annealing._fields}
        # The margin of these is a whole number; another is refused by the head.
        settings["m"] = int(config.m) if config.m is not None and config.m % 1 == 0 else config.m
    else:
        # The others refuse what was set of the annealing, which they do not have.
        changed = set(angular.Annealing._fields) & {
            field.name
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != field.default
        }
        settings |= {name: getattr(config, name) for name in changed}
    initializer = keras.initializers.LecunUniform(seed=config.seed)
    return make_head(
        config.head, num_classes, **settings, kernel_initializer=initializer, name="head"
    )


def make_step(trainer: Trainer, config: TrainConfig) -> Callable[[tf.data.Iterator], tf.Tensor]:
    """The compiled step: takes an iterator, updates the weights, returns the batch's sums.

    The five sums over the global batch are, in order: loss, right answers without the margin,
    lambda, angle to the own class weight in degrees, and |x|.
    """
    strategy, backbone, head, optimizer = trainer
    variables = backbone.trainable_variables + head.trainable_variables

    def replica_step(images, labels):
        with tf.GradientTape() as tape:
            embeddings = tf.cast(backbone(images, training=True), tf.float32)
            assessed = head.assess(labels, head(embeddings, training=True))
            loss = tf.reduce_sum(assessed.losses) / config.batch_size
            if backbone.losses:  # a network of the user's own may have regularisers
                loss += tf.add_n(backbone.losses) / strategy.num_replicas_in_sync
        gradients = tape.gradient(loss, variables)
        unused = [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
        if unused:
            raise ValueError(f"Every trainable weight must reach the loss. Received: {unused}")
        share = config.weight_decay / strategy.num_replicas_in_sync
        gradients = solver_gradients(gradients, variables, share)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        angles = tf.acos(tf.clip_by_value(assessed.cos_theta, -1.0, 1.0)) * (180.0 / math.pi)
        norms = angular.l2_norm(embeddings)[:, 0]
        lambdas = head.annealing_lambda * tf.ones_like(norms)
        right = tf.cast(assessed.correct, tf.float32)
        return tf.stack(
            [tf.reduce_sum(x) for x in (assessed.losses, right, lambdas, angles, norms)]
        )

    @tf.function
    def step(iterator):
        sums = strategy.run(replica_step, args=next(iterator))
        return strategy.reduce("SUM", sums, axis=None)

    return step


def solver_gradients(gradients, variables, weight_decay: float) -> list[tf.Tensor]:
    """Gradients as Caffe's solver sees them in the authors' network files.

    Weight decay is added to the gradient, so that it goes through the momentum. Biases have no
    decay, and with SGD, by a gradient twice as large, twice the rate.
    """
    return [
        2.0 * gradient
        if _is_bias(variable)
        else gradient + weight_decay * tf.convert_to_tensor(variable)
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def _is_bias(variable):
    return variable.name.split("/")[-1].startswith("bias")


def _run(trainer, manager, config, info, total_steps):
    """From the step of the optimiser to the last, with progress, log and checkpoints."""
    dataset = pipeline.training_batches(
        config.data, config.batch_size, config.seed, trainer.step, _augmentation(config)
    )
    iterator = iter(trainer.strategy.experimental_distribute_dataset(dataset))
    step_function = make_step(trainer, config)
    schedule = learning_rate_schedule(config, total_steps)
    log = TrainingLog(Path(config.workdir), trainer.step)
    progress = progress_bar(total=total_steps, initial=trainer.step, unit="step", desc="training")
    watch = ConvergenceWatch(trainer.head, patience=max(200, total_steps // 20))
    with log, progress:
        sums, since, started = [], trainer.step, time.monotonic()
        for step in range(trainer.step + 1, total_steps + 1):
            sums.append(step_function(iterator))
            progress.update()
            last = step == total_steps
            if last or step % config.log_steps == 0:
                means = np.mean(sums, axis=0) / config.batch_size
                rate = (step - since) * config.batch_size / (time.monotonic() - started)
                epoch = step * config.batch_size / info.num_images
                row = [step, epoch, *means, float(schedule(step - 1)), rate]
                log.write(dict(zip(LOG_FIELDS, row, strict=True)))
                progress.set_postfix_str(
                    f"loss {means[0]:.3f} accuracy {means[1]:.3f} lambda {means[2]:.1f}"
                )
                _check_finite(means[0], step, config)
                message = watch.see(means[0], norm=means[4], steps=step - since)
                if message:
                    progress.write(f"step {step}: {message}", file=sys.stderr)
                sums, since, started = [], step, time.monotonic()
            if last or step % config.checkpoint_steps == 0:
                # A run that diverged must not be continued from where it did.
                if sums:
                    _check_finite(float(sums[-1][0]), step, config)
                manager.save(checkpoint_number=step)


def _check_finite(loss, step, config):
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"The loss is {loss} at step {step}: the run diverged. A lower learning rate or a "
            "larger lambda_min helps. Received: "
            f"learning_rate={config.learning_rate}, lambda_min={config.lambda_min}"
        )


def _augmentation(config):
    return augmentation.Augmentation(
        **{name: getattr(config, name) for name in augmentation.RANGES}
    )


class TrainingLog:
    """log.csv and TensorBoard, a row every `log_steps`; rows after `start_step` are redone."""

    def __init__(self, workdir: Path, start_step: int):
        path = workdir / "log.csv"
        kept = []
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= start_step]
        self.file = open(path, "w", newline="", encoding="utf-8")
        self.table = csv.DictWriter(self.file, LOG_FIELDS)
        self.table.writeheader()
        self.table.writerows(kept)
        self.file.flush()
        self.board = tf.summary.create_file_writer(str(workdir / "tensorboard"))

    def write(self, row: dict[str, float]) -> None:
        self.table.writerow({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()})
        self.file.flush()
        with self.board.as_default(step=row["step"]):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        self.board.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.board.close()


def data_checksum(info: records.DatasetInfo) -> str:
    """One checksum for all shards, which tells records apart whatever their path."""
    joined = "".join(shard.sha256 for shard in info.shards)
    return hashlib.sha256(joined.encode()).hexdigest()


def _check_same_settings(settings, workdir):
    """Refuse to continue a run that had other settings or other data."""
    saved = json.loads((workdir / SETTINGS_FILE).read_text(encoding="utf-8"))
    differences = [
        f"{name}: {saved.get(name)!r} before, {value!r} now"
        for name, value in settings.items()
        if name not in MAY_CHANGE and saved.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"{workdir} holds a run with other settings; choose another `workdir`. "
            f"Received: {'; '.join(differences)}"
        )
