"""The parts of a run from its settings: trainer, step, batches, intervals and pairs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import START_PREFIX
from keras_sphereface.config.rules import queue_size_of
from keras_sphereface.data import pipeline
from keras_sphereface.data.augmentation import RANGES, Augmentation
from keras_sphereface.data.records import DatasetInfo
from keras_sphereface.distribute.strategy import is_chief, num_workers, worker_index
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.heads.base import Head
from keras_sphereface.models.stages import freeze_stages, hold_batch_norm
from keras_sphereface.training.backbones import Backbone, backbone_by_name, make_network
from keras_sphereface.training.build_head import check_batches, head_of, images_per_identity
from keras_sphereface.training.distillation import make_distillation
from keras_sphereface.training.intervals import Intervals
from keras_sphereface.training.run_config import complete_settings, planned_steps
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.solver import Solver
from keras_sphereface.training.starting_point import StartingPoint, network_of_start
from keras_sphereface.training.step import make_training_step
from keras_sphereface.training.trainer import Trainer, make_trainer

Value = TypeVar("Value", int, float, str)


def build_trainer(
    config: TrainConfig,
    info: DatasetInfo,
    strategy: tf.distribute.Strategy,
    backbone: Backbone | None = None,
    start: StartingPoint | None = None,
) -> Trainer:
    """Make network, head and optimizer on the devices of a strategy.

    Args:
        config: Settings of the run.
        info: Size of the images, number of images and of identities.
        strategy: The devices.
        backbone: Makes the network in place of `config.backbone`.
        start: Network whose weights the run begins with; None: start weights, or those of a
            checkpoint that is restored later.

    Raises:
        ValueError: If the settings cannot be used, or not on these devices.
    """
    config = complete_settings(config, info)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % (replicas * config.accumulate_steps):
        raise ValueError(
            "`batch_size` must be a multiple of the number of devices times `accumulate_steps`, "
            f"{replicas} x {config.accumulate_steps}. Received: batch_size={config.batch_size}"
        )

    def build_backbone() -> keras.Model:
        network = make_network(
            backbone or _backbone_of(config, info),
            config.backbone,
            (*info.image_size, 3),
            config.input_range,
            embedding_size=config.embedding_size,
            seed=config.seed,
        )
        if start is not None:
            start.give_weights(network)
        freeze_stages(network, config.freeze_stages)
        if config.hold_batch_norm:
            hold_batch_norm(network)
        return network

    def build_head() -> Head:
        classes = queue_size_of(config) if config.semi_siamese else info.num_identities
        head = head_of(config, classes)
        check_batches(config, head, replicas)
        return head

    rate = LearningRate(
        _filled_in(config.learning_rate),
        planned_steps(config, info.num_images),
        config.schedule,
        _filled_in(config.lr_warmup_steps),
    )
    solver = Solver(
        config.optimizer,
        rate,
        config.momentum,
        config.weight_decay,
        _filled_in(config.clipnorm),
        config.ema,
        _filled_in(config.bias_rule),
        config.gradient_precision,
    )
    return make_trainer(
        strategy,
        build_backbone,
        build_head,
        solver,
        config.shard_classes,
        config.layer_decay,
        config.gallery_momentum if config.semi_siamese else None,
    )


def _backbone_of(config: TrainConfig, info: DatasetInfo) -> Backbone:
    """Return the function that makes the network of the settings."""
    if not config.backbone.startswith(START_PREFIX):
        return backbone_by_name(config.backbone, config.width, config.batch_norm)
    height, width = info.image_size
    return lambda **arguments: network_of_start(
        Path(config.workdir), (height, width), config.precision
    )


def _filled_in(value: Value | None) -> Value:
    assert value is not None  # `complete_settings` leaves no None among them
    return value


def build_step(config: TrainConfig, trainer: Trainer) -> Callable[[Any], tf.Tensor]:
    """Return the compiled training step; see `make_training_step`."""
    distillation = None
    if config.teacher:
        distillation = make_distillation(
            config.teacher,
            config.teacher_weight,
            config.data,
            trainer.backbone.output_shape[-1],
            Path(config.workdir),
            is_chief(trainer.strategy),
        )
    return make_training_step(
        trainer,
        config.batch_size,
        Augmentation(**{name: getattr(config, name) for name in RANGES}),
        config.seed,
        config.accumulate_steps,
        config.jit,
        distillation,
        config.remat,
    )


def build_intervals(config: TrainConfig, num_images: int) -> Intervals:
    """Return when something is due in a run."""
    return Intervals(
        total_steps=planned_steps(config, num_images),
        batch_size=config.batch_size,
        num_images=num_images,
        log_steps=config.log_steps,
        checkpoint_steps=config.checkpoint_steps,
        verify_steps=config.verify_steps,
    )


def build_old_pair_sources(
    config: TrainConfig, settings: Mapping[str, Any]
) -> tuple[PairSources, tuple[int, ...]]:
    """Return the files of the old test set, and its folds; without any, no set.

    Args:
        config: Settings of the run.
        settings: Of the run that it starts from, whose verified pairs are the old test set if
            `config` names none; {}: it is no run.
    """
    if config.old_bin or config.old_pairs:
        old = PairSources(
            config.old_pairs, config.old_images, config.old_landmarks, bin=config.old_bin
        )
        return old, config.old_folds
    names = ("pairs", "images", "landmarks", "bin")
    paths = {name: settings.get(f"verify_{name}", "") for name in names}
    paths |= {name: settings.get(name, "") for name in ("landmark_columns", "pair_columns")}
    return PairSources(**paths), tuple(settings.get("verify_folds", ()))


def build_pair_sources(config: TrainConfig) -> PairSources:
    """Return the files of the pairs that are verified during the training."""
    return PairSources(
        pairs=config.verify_pairs,
        images=config.verify_images,
        landmarks=config.verify_landmarks,
        bin=config.verify_bin,
        landmark_columns=config.landmark_columns,
        pair_columns=config.pair_columns,
    )


def distributed_batches(
    config: TrainConfig, strategy: tf.distribute.Strategy, start_step: int
) -> tf.distribute.DistributedDataset:
    """Return the uint8 batches from `start_step` on, each split over the devices in their order."""
    workers = num_workers(strategy)

    def batches_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = pipeline.training_batches(
            config.data,
            config.batch_size,
            config.seed,
            start_step,
            augment=None,
            num_workers=workers,
            worker=worker_index(strategy),
            same_batches=not config.worker_shards,
            images_per_identity=images_per_identity(config),
        )
        size = context.get_per_replica_batch_size(config.batch_size)
        return batches if size * workers == config.batch_size else batches.rebatch(size)

    return strategy.distribute_datasets_from_function(batches_of_worker)
