"""`HeadContext`, what one call of a head computes for its loss, and `HeadOutput`, the result."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_sphereface.backend import Tensor, ops
from keras_sphereface.distribute.collectives import ClassShard, ReplicaSlice


class HeadContext(NamedTuple):
    """Inputs and intermediate tensors of one call of a head.

    Attributes:
        embeddings: (B, D).
        norms: (B, 1), |x|.
        rows: (B, D), the embeddings, scaled as the logits are.
        step: Integer scalar, number of this training step, or of the last one.
        training: Whether this is a training step.
        kernels: Blocks (D, C_b) of class weights; empty without classes.
        biases: (C_b,) each, or empty.
        inverses: (C_b,) each, 1 / |w_j|; empty where the norms do not count.
        products: (B, C), the logits without bias, if they are computed already.
        shard: Where classes are sharded over replicas, the shard that the blocks are of.
        excluded: (B, C) bool, True where a class is no negative of a sample; None: all classes but
            the target are. Only with a single block.
        state: What a head that keeps statistics of the batches reads of them at this step.

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> head = CosFace(num_classes=3)
        >>> head.build((None, 2))
        >>> np.asarray(head.context(np.array([[3.0, 4.0]], "float32")).norms).tolist()
        [[5.0]]
    """

    embeddings: Tensor
    norms: Tensor
    rows: Tensor
    step: Tensor
    training: bool
    kernels: Sequence[Tensor] = ()
    biases: Sequence[Tensor] = ()
    inverses: Sequence[Tensor] = ()
    products: Tensor | None = None
    shard: ClassShard | None = None
    excluded: Tensor | None = None
    state: Sequence[Tensor] = ()

    def replica_slice(self, labels: Tensor) -> ReplicaSlice:
        """Return the place of this call's rows, as many as `labels` (B,), in the global batch."""
        if self.shard is not None:  # gathered already
            return ReplicaSlice(ops.shape(labels)[0], None)
        return ReplicaSlice.of(labels)

    def global_batch(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (B, D) and labels (B,) of all replicas, in their order."""
        replica = self.replica_slice(labels)
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
        >>> output = head.compute_losses(np.ones((2, 4), "float32"), [0, 2])
        >>> tuple(output.losses.shape)
        (2,)
    """

    losses: Any
    correct: Any
    target_cosine: Any
