"""`Trainer`: network, head, optimizer and averages on the devices of a strategy."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.heads.base import Head
from keras_sphereface.heads.prototype_queue import PrototypeQueue
from keras_sphereface.heads.sharded import ShardedHead
from keras_sphereface.models.stages import rates_by_stage
from keras_sphereface.training.gallery_network import GalleryNetwork
from keras_sphereface.training.solver import Solver, is_named_bias
from keras_sphereface.utils.compat import tf_variable


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Everything that a training step changes.

    Attributes:
        strategy: Under which all of it was made.
        backbone: Network from images to embeddings.
        head: Its weights are empty of classes where `sharded_head` holds these.
        sharded_head: Class weights by replica; None: every replica holds all of them.
        solver: Settings of the optimizer.
        optimizer: Built with the weights of network and head.
        averages: Moving averages of the network's trainable weights; empty without.
        gallery: Of semi-siamese training: the network of the prototypes; None: there is none.
    """

    strategy: tf.distribute.Strategy
    backbone: keras.Model
    head: Head
    sharded_head: ShardedHead | None
    solver: Solver
    optimizer: keras.optimizers.Optimizer
    averages: list[tf.Variable]
    gallery: GalleryNetwork | None = None

    @property
    def step(self) -> int:
        """The number of optimizer steps taken."""
        return int(self.optimizer.iterations.numpy())

    @property
    def variables(self) -> list[Any]:
        """The weights that the optimizer knows: equal on all replicas."""
        return self.backbone.trainable_variables + self.head.trainable_variables

    @property
    def are_biases(self) -> list[bool]:
        """Whether each of `variables` is a bias by Caffe's rule; those of the head always are."""
        has_rule = self.solver.bias_rule == "caffe"
        return [
            *(has_rule and is_named_bias(weight) for weight in self.backbone.trainable_variables),
            *(is_named_bias(weight) for weight in self.head.trainable_variables),
        ]

    @property
    def num_bytes(self) -> int:
        """About the size of a checkpoint."""
        weights = [*self.backbone.weights, *self.optimizer.variables, *self.averages]
        variables = [tf_variable(weight) for weight in [*weights, *self.head.weights]]
        shared = sum(math.prod(variable.shape) * variable.dtype.size for variable in variables)
        shared += self.gallery.num_bytes if self.gallery else 0
        return shared + (self.sharded_head.num_bytes if self.sharded_head else 0)

    @property
    def head_parameters(self) -> tuple[int, int]:
        """The number of weights of the head: on all devices together, and on one of them."""
        shared = self.head.count_params()
        if not self.sharded_head:
            return shared, shared
        head = self.sharded_head.head
        per_class = self.backbone.output_shape[-1] * head.num_centers + head.use_bias
        classes = self.sharded_head.ranges[0][1]  # the first device has most
        return shared + self.head.num_classes * per_class, shared + classes * per_class

    @property
    def is_finite(self) -> bool:
        """Return whether all weights that the optimizer knows are finite numbers."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(tf_variable(weight)))) for weight in self.variables
        )

    def update_averages(self) -> None:
        """In cross-replica context: move the averages towards the weights."""
        if self.averages:
            self._move(self.averages, self.solver.ema)
        if self.gallery:
            network = self.gallery.network
            self._move(map(tf_variable, network.trainable_variables), self.gallery.momentum)
            others = (network.non_trainable_variables, self.backbone.non_trainable_variables)
            for copy, weight in zip(*others, strict=True):
                self.strategy.extended.update(
                    tf_variable(copy),
                    lambda copy, weight: copy.assign(weight),
                    args=(tf_variable(weight),),
                )

    def _move(self, averages: Iterable[tf.Variable], decay: float) -> None:
        """In cross-replica context: move averages towards the trainable weights of the network."""
        taken = tf.cast(tf.convert_to_tensor(tf_variable(self.optimizer.iterations)), tf.float32)
        # At first the average of all steps so far counts, not the start weights.
        share = 1.0 - tf.minimum(decay, taken / (taken + 9.0))
        for average, weight in zip(averages, self.backbone.trainable_variables, strict=True):
            self.strategy.extended.update(
                average,
                lambda average, weight: average.assign_add(
                    tf.cast(share, average.dtype) * (weight - average)
                ),
                args=(tf_variable(weight),),
            )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[keras.Model]:
        """The network with the averages in place of its weights, while the block lasts."""
        if not self.averages:
            yield self.backbone
            return
        weights = [tf_variable(weight) for weight in self.backbone.trainable_variables]
        values = [weight.numpy() for weight in weights]
        for weight, average in zip(weights, self.averages, strict=True):
            weight.assign(average.numpy())
        try:
            yield self.backbone
        finally:
            for weight, value in zip(weights, values, strict=True):
                weight.assign(value)


def make_trainer(
    strategy: tf.distribute.Strategy,
    make_backbone: Callable[[], keras.Model],
    make_head: Callable[[], Head],
    solver: Solver,
    shard_classes: bool = False,
    layer_decay: float = 1.0,
    gallery_momentum: float | None = None,
) -> Trainer:
    """Make network, head and optimizer on the devices of a strategy.

    Args:
        strategy: The devices.
        make_backbone: Called in the scope of the strategy; returns a network from images to
            embeddings.
        make_head: Called after it, in the same scope; returns a head that is not built.
        solver: Settings of the optimizer.
        shard_classes: Bool. Whether each device holds the weights of its share of the classes.
        layer_decay: Float in (0, 1]. Factor on the learning rate from each stage of the network
            to the one below it; see `models.rates_by_stage`.
        gallery_momentum: Momentum of the gallery network of semi-siamese training, whose queue
            holds as many prototypes as the head has classes; None: class weights are trained.

    Raises:
        ValueError: If the head cannot be sharded over these devices, or `layer_decay` is below 1
            and the network shows no stages.
    """
    with strategy.scope():
        backbone, head, sharded_head = make_backbone(), make_head(), None
        gallery = None
        if shard_classes:
            sharded_head = ShardedHead(head, backbone.output_shape[-1], solver.num_slots)
        elif gallery_momentum is not None:
            queue = PrototypeQueue(head, backbone.output_shape[-1])
            gallery = GalleryNetwork(make_backbone(), queue, gallery_momentum)
            # Start weights without a seed would differ.
            gallery.network.set_weights(backbone.get_weights())
        else:
            head.build(backbone.output_shape)
        variables = backbone.trainable_variables + head.trainable_variables
        rates = rates_by_stage(backbone, layer_decay)
        optimizer = solver.make_optimizer([rates.get(id(weight), 1.0) for weight in variables])
        optimizer.build(variables)
        averages = [
            tf.Variable(tf.convert_to_tensor(weight), trainable=False)
            for weight in backbone.trainable_variables
            if solver.ema
        ]
    return Trainer(strategy, backbone, head, sharded_head, solver, optimizer, averages, gallery)
