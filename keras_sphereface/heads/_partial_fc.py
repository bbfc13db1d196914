"""Partial FC: the loss of a step looks at the batch's classes and at a sample of the others."""

import math

import tensorflow as tf

from keras_sphereface.functional.norms import inverse_norms
from keras_sphereface.heads._reductions import Block, TargetClass, columns_in_block


def sample_classes(
    kernel: tf.Tensor,
    labels: tf.Tensor,
    start: int,
    rate: float,
    seed: tf.Tensor,
    bias: tf.Tensor | None = None,
    normalize: bool = True,
) -> tuple[Block, tf.Tensor]:
    """Return the batch's classes of a block with a random sample of its other classes.

    Of n other classes, k are drawn without replacement, each with the same chance, and each
    counts n / k times. So any sum over classes is estimated without bias. (The logarithm of
    such a sum, in the softmax loss, is low on average, by about half the squared relative
    error of the sum.)

    Args:
        kernel: (D, C_b), the class weights of the classes [start, start + C_b).
        labels: (B,), int32.
        start: First class of the block.
        rate: In (0, 1]; rate * C_b classes are kept, and at least B + 1, so that those of the batch
            are among them and one more.
        seed: (2,) int32. Seed for `tf.random.stateless_uniform`.
        bias: (C_b,), or None.
        normalize: Whether only the direction of a class weight counts.

    Returns:
        The block of the sample, and the sampled classes (K,), counted within the given block.

    Reference: An et al., "Partial FC: Training 10 Million Identities on a Single Machine",
    2021, which samples in this way but lets every class count once.
    """
    width, batch_size = kernel.shape[1], tf.shape(labels)[0]
    inside, within = columns_in_block(labels, start, width)
    # Target classes have a key above every random one, so that they are always among the highest.
    keys = tf.tensor_scatter_nd_max(
        tf.random.stateless_uniform([width], seed), within[:, None], tf.where(inside, 2.0, 0.0)
    )
    count = tf.minimum(tf.maximum(math.ceil(rate * width), batch_size + 1), width)
    values, chosen = tf.math.top_k(keys, count)
    is_target = values > 1.0
    num_targets = tf.reduce_sum(tf.cast(is_target, kernel.dtype))
    num_drawn = tf.maximum(tf.cast(count, kernel.dtype) - num_targets, 1.0)
    share = (width - num_targets) / num_drawn
    counts = tf.where(is_target, tf.ones_like(share), share)
    ranks = ranks_of(chosen, width)
    target_columns = tf.minimum(tf.gather(ranks, within), count - 1)
    target = TargetClass(tf.stack([tf.range(batch_size), target_columns], axis=1), inside)
    offset = None if bias is None else gather_columns(bias[None], chosen, ranks)[0]
    columns = gather_columns(kernel, chosen, ranks)
    inverse = tf.stop_gradient(inverse_norms(columns)) if normalize else None
    return Block(columns, target, offset, counts, inverse), chosen


def ranks_of(chosen: tf.Tensor, size: int) -> tf.Tensor:
    """Return the index of each of 0 ... size - 1 in `chosen` (K,), all different; K if absent."""
    count = tf.size(chosen)
    return tf.tensor_scatter_nd_update(tf.fill([size], count), chosen[:, None], tf.range(count))


def gather_columns(kernel: tf.Tensor, chosen: tf.Tensor, ranks: tf.Tensor) -> tf.Tensor:
    """Return the columns `chosen` (K,) of `kernel` (D, C), (D, K), with a gradient in one pass.

    Args:
        kernel: (D, C).
        chosen: (K,).
        ranks: (C,), for each column the index in `chosen` from which it takes its gradient, or K
            for none; `ranks_of(chosen, C)` where all of `chosen` are different.
    """

    @tf.custom_gradient
    def gather(kernel: tf.Tensor) -> tuple:
        def gradient(by_columns: tf.Tensor) -> tf.Tensor:
            # Every column takes its own gradient, and one that was not chosen a column of zeros.
            return tf.gather(tf.pad(by_columns, [[0, 0], [0, 1]]), ranks, axis=1)

        return tf.gather(kernel, chosen, axis=1), gradient

    return gather(kernel)
