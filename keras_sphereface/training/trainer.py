"""`Trainer`: network, head, optimizer and averages on the devices, and their training step."""

import contextlib
import functools
import importlib
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import NETWORKS
from keras_sphereface.data import augmentation, preprocessing, records
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.sharded import ShardedHead
from keras_sphereface.losses.head_loss import context_of
from keras_sphereface.models.sphereface import sphereface
from keras_sphereface.training.build_head import check_batches, head_of
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.utils.compat import plain_update, tf_variable

OPTIMIZER_SLOTS = {"sgd": 1, "adam": 2}  # variables kept for each weight
ANGLE_BINS = 180  # a degree each
# What a step sums over its batch: loss with the margin, right answers without it, lambda, angle to
# the own class weight in degrees, |x|.
MEANS = ("loss", "accuracy", "annealing_lambda", "target_angle", "embedding_norm")


class Trainer(NamedTuple):
    """Everything that a training step touches; made under one strategy."""

    strategy: tf.distribute.Strategy
    backbone: keras.Model
    head: Head
    split: ShardedHead | None  # what holds the class weights, where they are split
    optimizer: keras.optimizers.Optimizer
    rate: LearningRate  # the optimizer's
    averages: list[tf.Variable]  # of the network's trainable weights; empty without EMA

    @property
    def step(self) -> int:
        """The number of optimizer steps taken."""
        return int(self.optimizer.iterations.numpy())

    @property
    def variables(self) -> list:
        """The weights that the optimizer knows: equal on all replicas."""
        return self.backbone.trainable_variables + self.head.trainable_variables

    @property
    def num_bytes(self) -> int:
        """About what a checkpoint takes on the disk."""
        kept = [*self.backbone.weights, *self.optimizer.variables, *self.averages]
        kept = [tf_variable(weight) for weight in [*kept, *self.head.weights]]
        small = sum(math.prod(weight.shape) * weight.dtype.size for weight in kept)
        return small + (self.split.num_bytes if self.split else 0)

    @property
    def is_finite(self) -> bool:
        """Whether all weights that the optimizer knows are finite numbers."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(tf_variable(weight)))) for weight in self.variables
        )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[keras.Model]:
        """The network with the averages in place of its weights, while the block lasts."""
        if not self.averages:
            yield self.backbone
            return
        weights = [tf_variable(weight) for weight in self.backbone.trainable_variables]
        kept = [weight.numpy() for weight in weights]
        for weight, average in zip(weights, self.averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield self.backbone
        finally:
            for weight, value in zip(weights, kept, strict=True):
                weight.assign(value)


def make_trainer(
    config: TrainConfig,
    info: records.DatasetInfo,
    total_steps: int,
    strategy: tf.distribute.Strategy,
    backbone: Callable[..., keras.Model] | None = None,
) -> Trainer:
    """Network, head and optimizer on the devices of a strategy.

    Raises:
        ValueError: if the settings cannot be used, or not on these devices.
    """
    count = strategy.num_replicas_in_sync
    if config.batch_size % (count * config.accumulate_steps):
        raise ValueError(
            f"`batch_size` is split over {count} devices and {config.accumulate_steps} parts a "
            f"step, and must be a multiple of both. Received: batch_size={config.batch_size}"
        )
    with strategy.scope():
        network = (backbone or backbone_by_name(config.backbone, config.width))(
            input_shape=(*info.image_size, 3),
            embedding_size=config.embedding_size,
            seed=config.seed,
        )
        head, split = head_of(config, info.num_identities), None
        check_batches(config, head, count)
        if config.shard_classes:
            split = ShardedHead(head, network.output_shape[-1], OPTIMIZER_SLOTS[config.optimizer])
        else:
            head.build(network.output_shape)
        rate = LearningRate(
            config.learning_rate, total_steps, config.schedule, config.lr_warmup_steps
        )
        optimizer = (
            keras.optimizers.SGD(rate, momentum=config.momentum, **plain_update())
            if config.optimizer == "sgd"
            else keras.optimizers.Adam(rate, **plain_update())
        )
        optimizer.build(network.trainable_variables + head.trainable_variables)
        averages = [
            tf.Variable(tf.convert_to_tensor(weight), trainable=False)
            for weight in network.trainable_variables
            if config.ema
        ]
    return Trainer(strategy, network, head, split, optimizer, rate, averages)


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
    if name not in NETWORKS:
        raise ValueError(
            f"`backbone` must be one of {', '.join(NETWORKS)} or module:function. "
            f"Received: backbone={name!r}"
        )
    return functools.partial(sphereface, NETWORKS[name].depth, width=width)


def make_step(trainer: Trainer, config: TrainConfig) -> Callable[[tf.data.Iterator], tf.Tensor]:
    """The compiled step: takes an iterator of uint8 batches, updates the weights once.

    Gradients are those of the mean loss of the global batch, whatever the number of devices, and
    of the parts that a device works on one after another.

    Returns:
        A function from the iterator to sums over the global batch: what `MEANS` names, then the
        number of samples by their angle to the own class weight, (ANGLE_BINS,).
    """
    strategy, backbone, head, split, *_ = trainer
    replicas, parts = strategy.num_replicas_in_sync, config.accumulate_steps
    ranges = augmentation.RANGES
    augment = augmentation.Augmentation(**{name: getattr(config, name) for name in ranges})

    def gradients_of(images, labels, step, weights):
        """Gradients by all weights for some samples, and what the head says of these."""
        variables = trainer.variables
        with tf.GradientTape() as tape:
            tape.watch(weights)
            embeddings = tf.cast(backbone(images, training=True), head.compute_dtype)
            # Read at once: when replicas wait for each other, Keras mixes up what they hold.
            penalties = list(backbone.losses)
            if split:
                outputs, labels = split.outputs(embeddings, labels, weights, step)
            else:
                outputs = head.call_at_step(embeddings, step, True)
            losses, correct, cos_theta = head.compute_losses(labels, outputs)
            loss = tf.reduce_sum(losses) / config.batch_size
            if penalties:  # a network of the user's own may have regularisers
                loss += tf.add_n(penalties) / (replicas * parts)
        gradients = tape.gradient(loss, [*variables, *weights])
        unused = [v.name for v, g in zip(variables, gradients, strict=False) if g is None]
        if unused:
            raise ValueError(f"Every trainable weight must reach the loss. Received: {unused}")
        angles = tf.acos(tf.clip_by_value(cos_theta, -1.0, 1.0)) * (180.0 / math.pi)
        norms = context_of(outputs).norms[:, 0]
        facts = tf.stack([losses, tf.cast(correct, losses.dtype), angles, norms])
        return [tf.convert_to_tensor(gradient) for gradient in gradients], facts

    compute = tf.function(gradients_of, jit_compile=True) if config.jit else gradients_of

    def replica_step(pictures, labels):
        head.step.assign_add(1)
        step = tf.convert_to_tensor(head.step)
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = (index * (config.batch_size // replicas), config.batch_size)
        images = preprocessing.normalize(augment(pictures, (config.seed, step - 1), rows))
        weights = split.weights() if split else []
        total, facts = [], []
        for some in zip(tf.split(images, parts), tf.split(labels, parts), strict=True):
            # One part after another: side by side they would all be in memory at once.
            with tf.control_dependencies(total):
                gradients, seen = compute(*some, step, weights)
            total = [a + b for a, b in zip(total, gradients, strict=True)] if total else gradients
            facts.append(seen)
        _update(trainer, config, total, weights)
        losses, correct, angles, norms = tf.unstack(tf.concat(facts, axis=1))
        lambdas = tf.cast(head.annealing_lambda, losses.dtype) * tf.ones_like(losses)
        means = tf.reduce_sum([losses, correct, lambdas, angles, norms], axis=1)
        # No bin takes NaN; the loss tells of it.
        histogram = tf.histogram_fixed_width(
            tf.where(tf.math.is_nan(angles), tf.zeros_like(angles), angles),
            (0.0, 180.0),
            ANGLE_BINS,
        )
        # Where classes are split, every replica has looked at the samples of all.
        return tf.concat([means, tf.cast(histogram, means.dtype)], 0) / (replicas if split else 1)

    @tf.function
    def step(iterator):
        values = strategy.run(replica_step, args=next(iterator))
        _average(trainer, config)
        return strategy.reduce("SUM", values, axis=None)

    return step


def _update(trainer, config, gradients, weights):
    """In replica context: clip, decay and apply the gradients of the batch."""
    strategy, _, _, split, optimizer, *_ = trainer
    context, replicas = tf.distribute.get_replica_context(), strategy.num_replicas_in_sync
    variables = trainer.variables
    shared, own = gradients[: len(variables)], gradients[len(variables) :]
    if split:
        # The small weights of a head that is split have the whole gradient on every replica.
        first = len(trainer.backbone.trainable_variables)
        shared[first:] = [gradient / replicas for gradient in shared[first:]]
    if config.clipnorm:
        if replicas > 1:
            shared = context.all_reduce("SUM", shared)
        square = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in shared])
        if own:
            of_part = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in own])
            square += context.all_reduce("SUM", of_part)
        factor = config.clipnorm / tf.maximum(tf.sqrt(square), config.clipnorm)
        # The optimizer sums over the replicas too: each gives its share of what is summed.
        shared = [gradient * (factor / replicas) for gradient in shared]
        own = [gradient * factor for gradient in own]
    done = tf.convert_to_tensor(tf_variable(optimizer.iterations))
    gradients = solver_gradients(shared, variables, config.weight_decay / replicas)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    if split:
        kernels = split.num_blocks
        own = [
            _solver_gradient(gradient, weight, i >= kernels, config.weight_decay)
            for i, (gradient, weight) in enumerate(zip(own, weights, strict=True))
        ]
        if config.optimizer == "sgd":
            rule = functools.partial(sgd_update, momentum=config.momentum)
        else:
            rule = functools.partial(adam_update, step=done + 1)
        split.update(own, functools.partial(rule, rate=trainer.rate(done)))


def _average(trainer, config):
    """In cross-replica context: move the averages towards the weights."""
    if not trainer.averages:
        return
    done = tf.cast(tf.convert_to_tensor(tf_variable(trainer.optimizer.iterations)), tf.float32)
    # At first the average of all steps so far counts, not the start weights.
    rest = 1.0 - tf.minimum(config.ema, done / (done + 9.0))
    for average, weight in zip(trainer.averages, trainer.backbone.trainable_variables, strict=True):
        trainer.strategy.extended.update(
            average,
            lambda average, weight: average.assign_add(
                tf.cast(rest, average.dtype) * (weight - average)
            ),
            args=(tf_variable(weight),),
        )


def solver_gradients(gradients, variables, weight_decay: float) -> list[tf.Tensor]:
    """Gradients as Caffe's solver sees them in the authors' network files.

    Weight decay is added to the gradient, so that it goes through the momentum. Biases have no
    decay, and with SGD, by a gradient twice as large, twice the rate.
    """
    return [
        _solver_gradient(
            gradient,
            tf.convert_to_tensor(variable),
            variable.name.split("/")[-1].startswith("bias"),
            weight_decay,
        )
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def _solver_gradient(gradient, weight, is_bias, weight_decay):
    if is_bias:
        return 2.0 * gradient
    # The decay waits for no gradient by itself, and would lie in memory through the whole step.
    with tf.control_dependencies([gradient]):
        return gradient + weight_decay * weight


def sgd_update(weight, slots, gradient, *, rate, momentum) -> None:
    """What `keras.optimizers.SGD` does to a weight and its momentum."""
    (velocity,), rate = slots, tf.cast(rate, gradient.dtype)
    # Not before the gradient is there: the product would only lie in memory.
    with tf.control_dependencies([gradient]):
        velocity.assign(momentum * velocity - rate * gradient)
    weight.assign_add(tf.convert_to_tensor(velocity))


def adam_update(weight, slots, gradient, *, rate, step) -> None:
    """What `keras.optimizers.Adam` does, with its default settings, at `step`, counted from 1."""
    first, second = slots
    step, dtype = tf.cast(step, gradient.dtype), gradient.dtype
    rate = tf.cast(rate, dtype) * tf.sqrt(1.0 - tf.pow(tf.constant(0.999, dtype), step))
    rate /= 1.0 - tf.pow(tf.constant(0.9, dtype), step)
    first.assign_add(0.1 * (gradient - first))
    second.assign_add(0.001 * (tf.square(gradient) - second))
    weight.assign_sub(rate * first / (tf.sqrt(second) + 1e-7))
