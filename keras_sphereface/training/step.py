"""The training step: gradients of a global batch over all devices, and one update."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.data.augmentation import Augmentation
from keras_sphereface.functional.norms import l2_norm
from keras_sphereface.heads.prototype_queue import Prototypes
from keras_sphereface.training.distillation import Distillation
from keras_sphereface.training.recompute import recomputing
from keras_sphereface.training.solver import solver_gradient, solver_gradients
from keras_sphereface.training.trainer import Trainer
from keras_sphereface.training.training_call import call_of_step, training_call
from keras_sphereface.utils.compat import needs_autograph, tf_variable

ANGLE_BINS = 180  # one degree each
# The sums of a step over its batch: loss with the margin, correct predictions without it, lambda,
# angle to the target class weight in degrees, |x|.
MEANS = ("loss", "accuracy", "annealing_lambda", "target_angle", "embedding_norm")


def make_training_step(
    trainer: Trainer,
    batch_size: int,
    augmentation: Augmentation = Augmentation(),
    seed: int = 0,
    accumulate_steps: int = 1,
    jit: bool = False,
    distillation: Distillation | None = None,
    remat: bool = False,
) -> Callable[[Any], tf.Tensor]:
    """Return the compiled step: it takes an iterator of uint8 batches and updates the weights.

    Gradients are those of the mean loss of the global batch, whatever the number of devices, and
    of the micro-batches that a device works on one after another.

    Args:
        trainer: Whose weights are updated.
        batch_size: Int. B, over all devices.
        augmentation: Random changes of the images, in the step itself.
        seed: Int. Seed of the augmentation.
        accumulate_steps: Int. Number of micro-batches of a device.
        jit: Bool. Whether XLA compiles forward and backward pass.
        distillation: Teachers whose term is added to the loss; what is measured is without it.
        remat: Bool. Whether activations are computed again in the backward pass, in place of being
            kept; see `recomputing`.

    Returns:
        A function from the iterator to sums over the global batch, (len(MEANS) + ANGLE_BINS,):
        those of `MEANS`, then the number of samples by their angle to the target class weight.

    Raises:
        ValueError: If `remat` is set and the network cannot be called so.
    """
    call = training_call if jit else call_of_step
    embed = recomputing(trainer.backbone, call) if remat else call(trainer.backbone)
    program = _Step(trainer, batch_size, augmentation, seed, accumulate_steps, embed, distillation)
    # AutoGraph rewrites the source of all that a step calls, which takes seconds.
    compiled = functools.partial(tf.function, autograph=needs_autograph())
    gradients = compiled(program.gradients, jit_compile=True) if jit else program.gradients

    @compiled
    def step(iterator: Any) -> tf.Tensor:
        images, labels = next(iterator)
        sums = trainer.strategy.run(program.on_replica, args=(images, labels, gradients))
        trainer.update_averages()
        return trainer.strategy.reduce("SUM", sums, axis=None)

    return step


@dataclasses.dataclass(frozen=True)
class _Step:
    """The parts of a step, which run in replica context."""

    trainer: Trainer
    batch_size: int
    augmentation: Augmentation
    seed: int
    micro_batches: int
    embed: Callable[[tf.Tensor], tf.Tensor]
    distillation: Distillation | None = None

    @property
    def replicas(self) -> int:
        return self.trainer.strategy.num_replicas_in_sync

    def on_replica(self, images: tf.Tensor, labels: tf.Tensor, gradients: Callable) -> tf.Tensor:
        """One update by the replica's rows of the batch; returns its share of the sums."""
        head, sharded_head = self.trainer.head, self.trainer.sharded_head
        head.step.assign_add(1)
        step = tf.convert_to_tensor(head.step)
        context = tf.distribute.get_replica_context()
        rows = (
            context.replica_id_in_sync_group * (self.batch_size // self.replicas),
            self.batch_size,
        )
        images = preprocessing.normalize(self.augmentation(images, (self.seed, step - 1), rows))
        weights = sharded_head.weights() if sharded_head else []
        gallery, kernel = self.trainer.gallery, None
        total: list[tf.Tensor] = []
        samples = []
        parts = {"images": images, "labels": labels}
        if self.distillation:
            parts["targets"] = self.distillation.targets(images)
        if gallery:
            kernel, parts["places"], parts["excluded"] = gallery.prototypes(images, labels, step)
        splits = (tf.split(values, self.micro_batches) for values in parts.values())
        for micro_batch in zip(*splits, strict=True):
            # One after another: side by side they would all be in memory at once.
            with tf.control_dependencies(total):
                named = dict(zip(parts, micro_batch, strict=True))
                new, measured = gradients(step=step, weights=weights, kernel=kernel, **named)
            total = [a + b for a, b in zip(total, new, strict=True)] if total else new
            samples.append(measured)
        self.apply(total)
        sums = self.sums(tf.concat(samples, axis=1))
        # Where classes are sharded, every replica has measured the samples of all.
        return sums / (self.replicas if sharded_head else 1)

    def gradients(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        step: tf.Tensor,
        weights: list[tf.Tensor],
        targets: tf.Tensor | None = None,
        kernel: tf.Tensor | None = None,
        places: tf.Tensor | None = None,
        excluded: tf.Tensor | None = None,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Gradients by all weights for some samples, and what is measured of these, (4, b).

        `targets` are those of the distillation; `kernel`, `places` and `excluded` are the
        `Prototypes` of the samples.
        """
        backbone, head = self.trainer.backbone, self.trainer.head
        variables = self.trainer.variables
        with tf.GradientTape() as tape:
            tape.watch(weights)
            embeddings = tf.cast(self.embed(images), head.compute_dtype)
            # Read at once: when replicas wait for each other, Keras mixes up what they hold.
            penalties = list(backbone.losses)
            if self.trainer.sharded_head:
                output, norms = self.trainer.sharded_head.compute_losses(
                    embeddings, labels, weights, step
                )
            elif self.trainer.gallery:
                prototypes = Prototypes(kernel, places, excluded)
                output = self.trainer.gallery.queue.compute_losses(embeddings, prototypes, step)
                norms = l2_norm(embeddings)[:, 0]
            else:
                output = head.compute_losses(embeddings, labels, training=True, step=step)
                norms = l2_norm(embeddings)[:, 0]
            losses, correct, target_cosine = output
            loss = tf.reduce_sum(losses) / self.batch_size
            if self.distillation:
                extra = self.distillation.losses(embeddings, targets)
                loss += tf.cast(tf.reduce_sum(extra), loss.dtype) / self.batch_size
            if penalties:  # a network of the user's own may have regularizers
                loss += tf.add_n(penalties) / (self.replicas * self.micro_batches)
        gradients = tape.gradient(loss, [*variables, *weights])
        unused = [v.name for v, g in zip(variables, gradients, strict=False) if g is None]
        if unused:
            raise ValueError(f"Every trainable weight must reach the loss. Received: {unused}")
        angles = tf.acos(tf.clip_by_value(target_cosine, -1.0, 1.0)) * (180.0 / math.pi)
        measured = tf.stack([losses, tf.cast(correct, losses.dtype), angles, norms])
        return [tf.convert_to_tensor(gradient) for gradient in gradients], measured

    def sums(self, measured: tf.Tensor) -> tf.Tensor:
        """(4, b) of the samples -> (len(MEANS) + ANGLE_BINS,)."""
        losses, correct, angles, norms = tf.unstack(measured)
        lambdas = tf.cast(self.trainer.head.annealing_lambda, losses.dtype) * tf.ones_like(losses)
        means = tf.reduce_sum([losses, correct, lambdas, angles, norms], axis=1)
        # No bin takes nan, which the loss shows too.
        finite = tf.where(tf.math.is_nan(angles), tf.zeros_like(angles), angles)
        histogram = tf.histogram_fixed_width(finite, (0.0, 180.0), ANGLE_BINS)
        return tf.concat([means, tf.cast(histogram, means.dtype)], axis=0)

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """Clip, decay and apply the gradients of the batch."""
        trainer, solver, replicas = self.trainer, self.trainer.solver, self.replicas
        variables = trainer.variables
        shared, sharded = gradients[: len(variables)], gradients[len(variables) :]
        if trainer.sharded_head:
            # The small weights of a sharded head have the whole gradient on every replica.
            first = len(trainer.backbone.trainable_variables)
            shared[first:] = [gradient / replicas for gradient in shared[first:]]
        shared = sum_over_replicas(shared, solver.gradient_precision)
        if solver.clipnorm:
            shared, factor = clip_gradients(shared, sharded, solver.clipnorm)
        taken = tf.convert_to_tensor(tf_variable(trainer.optimizer.iterations))
        decay = solver.weight_decay
        shared = solver_gradients(shared, variables, trainer.are_biases, decay)
        trainer.optimizer.apply_gradients(zip(shared, variables, strict=True))
        if trainer.sharded_head:
            rule = solver.update_rule(taken)

            def decay_and_update(weight: Any, slots: Any, gradient: tf.Tensor) -> None:
                # All of it here, where the head does one block after another.
                clipped = (
                    gradient * tf.cast(factor, gradient.dtype) if solver.clipnorm else gradient
                )
                is_bias, value = gradient.shape.rank == 1, tf.convert_to_tensor(weight)
                rule(weight, slots, solver_gradient(clipped, value, is_bias, solver.weight_decay))

            trainer.sharded_head.update(sharded, decay_and_update)


def sum_over_replicas(gradients: list[tf.Tensor], precision: str = "full") -> list[tf.Tensor]:
    """In replica context: return the sums of gradients over all replicas.

    Args:
        gradients: The replica's share.
        precision: Dtype in which they are sent, "bfloat16" for example; "full": as they are.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return gradients
    sent = [g if precision == "full" else tf.cast(g, precision) for g in gradients]
    sums = context.all_reduce("SUM", sent)
    return [tf.cast(total, g.dtype) for total, g in zip(sums, gradients, strict=True)]


def clip_gradients(
    shared: list[tf.Tensor], sharded: Sequence[tf.Tensor], clipnorm: float
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """In replica context: scale gradients so that their common L2 norm is at most `clipnorm`.

    Args:
        shared: Gradients that are equal on all replicas.
        sharded: Gradients of weights that this replica alone holds.
        clipnorm: Float > 0.

    Returns:
        The shared gradients, scaled; and the factor by which the sharded ones, which may take much
        memory, remain to be scaled.
    """
    square = _squared_norm(shared)
    if sharded:
        context = tf.distribute.get_replica_context()
        square += context.all_reduce("SUM", _squared_norm(sharded))
    factor = clipnorm / tf.maximum(tf.sqrt(square), clipnorm)
    return [gradient * factor for gradient in shared], factor


def _squared_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in gradients])
