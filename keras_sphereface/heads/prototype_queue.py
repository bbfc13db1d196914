"""`PrototypeQueue`: a head whose class weights are embeddings of the newest images."""

import math
from typing import NamedTuple

import tensorflow as tf

from keras_sphereface.config.choices import HEADS, PROTOTYPE_HEADS
from keras_sphereface.distribute.collectives import ReplicaSlice
from keras_sphereface.functional.norms import l2_normalize
from keras_sphereface.heads.angular_head import MAX_CLASSES_WITHOUT_BLOCKS, AngularHead
from keras_sphereface.losses.context import HeadOutput
from keras_sphereface.utils.validation import require

NOBODY = -1  # identity of a place in the queue that holds no prototype yet


class Prototypes(NamedTuple):
    """The queue as the rows of one replica see it in one step.

    Attributes:
        kernel: (D, K), prototypes at unit length; zeros where there is none yet.
        targets: (b,) int32, the place of each row's own prototype, that of its pair.
        excluded: (b, K) bool, True for places that are no negatives of a row: those of its own
            identity, and those without a prototype.

    Example:
        >>> Prototypes(tf.eye(2), tf.constant([1]), tf.constant([[False, True]])).kernel.shape
        TensorShape([2, 2])
    """

    kernel: tf.Tensor
    targets: tf.Tensor
    excluded: tf.Tensor


class PrototypeQueue:
    """A head whose class weights are not trained but are the K newest prototypes.

    Batches come in pairs of rows, 2i and 2i + 1, of one identity: two images, or the same image
    augmented twice. A slowly changing copy of the network, the gallery network g, gives the
    prototypes, and the network that is trained, the probe network p, the embeddings. With x_i the
    images of a step and i' the other row of the pair of row i,

        w_i = g(x_i) / |g(x_i)|,    cos(theta_ij) = p(x_i) . w_j / |p(x_i)|,
        loss_i = log(1 + sum over j in N_i of exp(z_ij - z_ii')),

    where z are the logits of the head, of which z_ii' has the margin, and N_i the prototypes in
    the queue, those of this step among them, that are not of the identity of row i. No gradient
    goes through w. All B prototypes of a step take the places of the B oldest: first in, first
    out. Places without a prototype, in the first K / B steps, are no negatives.

    It is for a custom training loop (`strategy.run`) and must be made in the scope of the strategy.
    Every device holds the whole queue, and the prototypes are those of the global batch.

    Args:
        head: A head of K classes, one of `config.choices.PROTOTYPE_HEADS`, that is not built yet.
        embedding_size: Int. D.

    Raises:
        ValueError: If the head is not a softmax over one normalized class weight for each class,
            or has blocks or samples of classes.

    Reference: Du et al., "Semi-Siamese Training for Shallow Face Learning", ECCV 2020. Their code
    keeps one prototype of the two, drawn at random, begins with random ones, and leaves identities
    that are in the queue out of the next epoch, where prototypes of the same identity are excluded
    here.

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> queue = PrototypeQueue(CosFace(num_classes=4, m=0.0, scale=1.0), embedding_size=2)
        >>> gallery = tf.constant([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> prototypes = queue.enqueue(gallery, tf.constant([7, 7, 5, 5]), tf.constant(1))
        >>> prototypes.targets.numpy().tolist()
        [1, 0, 3, 2]
        >>> losses = queue.compute_losses(gallery, prototypes, tf.constant(1)).losses
        >>> round(float(losses[0]), 3)  # log(1 + 2 e^(0 - 1))
        0.551
    """

    def __init__(self, head: AngularHead, embedding_size: int):
        kinds = ", ".join(PROTOTYPE_HEADS)
        classes = {HEADS[kind].layer for kind in PROTOTYPE_HEADS}
        require(
            type(head).__name__ in classes,
            f"`head` must be a softmax over one normalized weight for each class: {kinds}.",
            head=type(head).__name__,
        )
        size, blocks = head.num_classes, len(head.block_sizes())
        require(
            blocks == 1 and head.sample_rate == 1,
            "The prototypes of a queue are one block without sampling: leave `block_size` at None "
            f"and `sample_rate` at 1, with at most {MAX_CLASSES_WITHOUT_BLOCKS:,} prototypes.",
            block_size=head.block_size,
            sample_rate=head.sample_rate,
            num_classes=size,
        )
        self.head = head
        head.build_shared((None, embedding_size))
        self.prototypes = _replicated(tf.zeros((embedding_size, size), head.compute_dtype))
        self.identities = _replicated(tf.fill((size,), tf.constant(NOBODY, tf.int64)))

    @property
    def size(self) -> int:
        """K, the number of prototypes."""
        return self.head.num_classes

    @property
    def num_bytes(self) -> int:
        """Bytes of the queue on one device."""
        weights = (self.prototypes, self.identities)
        return sum(math.prod(weight.shape) * weight.dtype.size for weight in weights)

    def enqueue(self, embeddings: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> Prototypes:
        """In replica context: put the prototypes of all replicas into the queue, and return it.

        Args:
            embeddings: (b, D) of the gallery network for the replica's rows.
            labels: (b,) their identities; rows 2i and 2i + 1 of the global batch have the same.
            step: Integer scalar, the number of the training step; the first is 1. The place in
                the queue follows from it: K must be a multiple of the global batch B.
        """
        replica = ReplicaSlice.of(labels)
        rows = replica.gather(l2_normalize(tf.cast(embeddings, self.head.compute_dtype)))
        labels = tf.cast(labels, tf.int64)
        new = replica.gather(labels)
        count = tf.shape(new)[0]
        steps = self.size // count
        first = tf.cast((tf.cast(step, tf.int64) - 1) % tf.cast(steps, tf.int64), tf.int32) * count
        kernel = _replaced(tf.convert_to_tensor(self.prototypes), tf.transpose(rows), first)
        identities = _replaced(tf.convert_to_tensor(self.identities), new, first)
        self.prototypes.assign(kernel)
        self.identities.assign(identities)
        places = tf.range(replica.size) + (0 if replica.first is None else replica.first)
        return Prototypes(
            kernel=kernel,
            targets=first + tf.bitwise.bitwise_xor(places, 1),
            excluded=(identities == labels[:, None]) | (identities == NOBODY),
        )

    def compute_losses(
        self, embeddings: tf.Tensor, prototypes: Prototypes, step: tf.Tensor
    ) -> HeadOutput:
        """Return losses, correct predictions and cosines to the own prototype, (b,) each.

        Args:
            embeddings: (b, D) of the probe network.
            prototypes: Of these rows, as `enqueue` returned them.
            step: Integer scalar, the number of the training step, for annealing.
        """
        context = self.head.context(embeddings, step, True, [prototypes.kernel])
        # The prototypes are of unit length already.
        context = context._replace(inverses=(), excluded=prototypes.excluded)
        return self.head.losses_of(context, prototypes.targets)


def _replicated(value: tf.Tensor) -> tf.Variable:
    """Return a variable that every replica changes alike and none averages."""
    return tf.Variable(
        value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
    )


def _replaced(queue: tf.Tensor, new: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """Return the queue with `new` in its last axis from place `first` on."""
    stop = first + tf.shape(new)[-1]
    joined = tf.concat([queue[..., :first], new, queue[..., stop:]], axis=-1)
    return tf.ensure_shape(joined, queue.shape)
