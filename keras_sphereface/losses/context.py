"""`HeadContext`: the way a head gives its loss what that needs.

A Keras loss sees one tensor: the output of the head. A margin needs more: the embeddings, the
class weights, lambda. The head attaches them to the tensor that it returns, as a `HeadContext`,
as Keras' own softmax attaches its logits for the cross-entropy. So the output is plain logits
(B, C) where there are classes, every metric reads it, the head stays the only owner of its
settings, and a compiled step never computes logits that nothing reads.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard, ReplicaSlice

ATTRIBUTE = "_keras_sphereface_context"
NO_CONTEXT = (
    "The loss of a head must be given the very tensor that the head returned: the head must be the "
    "model's last layer and be called in the same function as the loss."
)


class HeadContext(NamedTuple):
    """Inputs and intermediate tensors of one call of a head.

    Attributes:
        head: The layer.
        embeddings: (B, D).
        norms: (B, 1), |x|.
        rows: (B, D), the embeddings, scaled as the logits are.
        step: int64 scalar, number of this training step, or of the last one.
        training: Whether this is a training step.
        kernels: Blocks (D, C_b) of class weights; empty without classes.
        biases: (C_b,) each, or empty.
        inverses: (C_b,) each, 1 / |w_j|; empty where the norms do not count.
        products: (B, C), the logits without bias, where there is one block.
        shard: Where classes are sharded over replicas, the shard that the blocks are of.

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> logits = CosFace(num_classes=3)(tf.constant([[3.0, 4.0]]))
        >>> context_of(logits).norms.numpy().tolist()
        [[5.0]]
    """

    head: Any
    embeddings: tf.Tensor
    norms: tf.Tensor
    rows: tf.Tensor
    step: tf.Tensor
    training: bool
    kernels: Sequence[tf.Tensor] = ()
    biases: Sequence[tf.Tensor] = ()
    inverses: Sequence[tf.Tensor] = ()
    products: tf.Tensor | None = None
    shard: ClassShard | None = None

    def global_batch(self, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return embeddings (B, D) and labels (B,) of all replicas, in their order."""
        if self.shard is not None:  # gathered already
            return self.embeddings, labels
        replica = ReplicaSlice.of(labels)
        return replica.gather(self.embeddings), replica.gather(labels)


class HeadOutput(NamedTuple):
    """Losses and measures of a batch, one value a sample, (B,).

    Attributes:
        losses: With the margin.
        correct: bool; without margin, the target logit is above all other logits computed.
        target_cosine: Cosine to the target class weight, in [-1, 1].

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> head = CosFace(num_classes=3)
        >>> output = head.compute_losses([0, 2], head(tf.ones((2, 4))))
        >>> output.losses.shape, output.correct.dtype
        (TensorShape([2]), tf.bool)
    """

    losses: tf.Tensor
    correct: tf.Tensor
    target_cosine: tf.Tensor


def attach_context(outputs: tf.Tensor, context: HeadContext) -> tf.Tensor:
    """Return `outputs` with `context` attached."""
    setattr(outputs, ATTRIBUTE, context)
    return outputs


def has_context(outputs: tf.Tensor) -> bool:
    """Return whether a head has attached its context to `outputs`."""
    return hasattr(outputs, ATTRIBUTE)


def context_of(outputs: tf.Tensor) -> HeadContext:
    """Return the context that the head attached to its outputs.

    Raises:
        ValueError: If `outputs` is not the very tensor that a head returned.
    """
    context = getattr(outputs, ATTRIBUTE, None)
    if context is None:
        raise ValueError(f"{NO_CONTEXT} Received: {outputs!r}")
    return context
