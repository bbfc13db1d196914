"""The target logit of each sample, and one number for all negative classes, in one operation.

A softmax head is a function of two numbers a sample: the logit of its target class, where the
margin is applied, and the log-sum-exp of the logits of the other classes, the negatives:

    cross-entropy = -log( e^target / (e^target + e^negatives) ) = softplus(negatives - target)

`target_and_negatives` computes both, and their gradients, in one operation that passes over the
(B, C) logits as seldom as it can. A margin is then arithmetic on B numbers, which TensorFlow
differentiates as usual.

The classes may be sharded over the replicas of a strategy. Each replica then computes the blocks
of its own shard, for the samples of all replicas; sums and maxima over the classes include all
replicas.

The kernel may come in blocks of classes. With one block the exponentials of the forward pass
are kept for the backward pass. With several, one block is computed after another and the
backward pass computes their logits again, so that never more than one block of logits exists.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.functional.norms import NORM_FLOOR
from keras_sphereface.heads._reductions import Block, Reduction


def target_and_negatives(
    rows: tf.Tensor,
    blocks: Sequence[Block],
    reduction: Reduction,
    products: tf.Tensor | None = None,
    shard: ClassShard | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the target logit of each sample, the reduced negatives, and their highest logit.

    The logits of a block are rows @ kernel, times the inverse norms if there are any, plus the
    offset. Gradients are exact, by rows, kernels, offsets and the parameters of the reduction;
    first derivatives only. Where the gradient that comes in through the negatives of a softmax is
    0, that through the target logit must be 0 too, as it is in softplus(negatives - target).

    Args:
        rows: (B, D), the embeddings, scaled as the logits shall be.
        blocks: All classes, or those of the shard; each sample's target class is in one block (of
            one replica). Either all have an offset or none has.
        reduction: How the logits of the negative classes become one number.
        products: rows @ kernel (times the inverse norms) of a single block, if computed already.
        shard: Where the classes are sharded over replicas, the shard of this one. Rows and results
            are those of all replicas' samples, and so are the gradients by rows and parameters.

    Returns:
        target (B,); negatives (B,); and highest (B,), the largest logit of a negative class,
        transformed as the reduction does it, without a gradient.
    """
    count, single = len(blocks), len(blocks) == 1
    computed = tf.stop_gradient(products) if products is not None and single else None

    @tf.custom_gradient
    def operation(rows: tf.Tensor, *tensors: tf.Tensor) -> tuple:
        if blocks[0].offset is None:
            tensors = (*tensors[:count], *[None] * count, *tensors[count:])
        shard_blocks = [
            block._replace(kernel=kernel, offset=offset)
            for block, kernel, offset in zip(
                blocks, tensors[:count], tensors[count : 2 * count], strict=True
            )
        ]
        target = tf.zeros_like(rows[:, 0])
        state = reduction.start(target)
        for block in shard_blocks:
            # One after another: blocks computed side by side are all in memory at once.
            with tf.control_dependencies([state[1]]):
                block_products, logits = _block_logits(rows, block, computed)
                in_block, inside = block.target.read(logits), block.target.inside
                target = in_block if inside is None else tf.where(inside, in_block, target)
                # Exponentials that are kept must be relative to the highest of all shards.
                state = reduction.add(state, logits, block, shard if single else None)
        if shard is not None:
            target, state = shard.sum(target), reduction.join(state, shard)
        negatives, highest = reduction.finish(state)
        kept = (block_products, logits) if single else None

        def gradient(by_target: tf.Tensor, by_negatives: tf.Tensor, _: tf.Tensor) -> tuple:
            by_rows = tf.zeros_like(rows)
            by_kernels: list[tf.Tensor] = []
            by_offsets, by_parameters = [], []
            for block in shard_blocks:
                with tf.control_dependencies([by_rows, *by_kernels[-1:]]):
                    block_products, logits = kept or _block_logits(rows, block, computed)
                    entries, factors, slopes = reduction.entries(
                        logits, block, by_negatives, negatives, state if single else None
                    )
                    at_target = tf.math.divide_no_nan(by_target, factors)
                    entries = block.target.write(entries, at_target)
                    if block.offset is not None:
                        by_offsets.append(tf.linalg.matvec(entries, factors, transpose_a=True))
                    by_row, by_kernel = _by_rows_and_kernel(
                        rows, block, entries, factors, block_products
                    )
                    by_rows += by_row
                    by_kernels.append(by_kernel)
                    by_parameters.append(slopes)
            parameters = list(map(tf.add_n, zip(*by_parameters, strict=True)))
            if shard is not None:
                by_rows, parameters = shard.sum(by_rows), [shard.sum(p) for p in parameters]
            return _first_derivatives(by_rows, *by_kernels, *by_offsets, *parameters)

        return (target, negatives, highest), gradient

    target, negatives, highest = operation(
        rows,
        *(block.kernel for block in blocks),
        *(block.offset for block in blocks if block.offset is not None),
        *reduction.parameters,
    )
    return target, negatives, tf.stop_gradient(highest)


def _block_logits(
    rows: tf.Tensor, block: Block, products: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the products (B, C_b), unless computed already, and the logits (B, C_b) of a block."""
    if products is None:
        products = tf.matmul(rows, block.kernel)
        products = products if block.inverse is None else products * block.inverse
    return products, products if block.offset is None else products + block.offset


@tf.custom_gradient
def _first_derivatives(*gradients: tf.Tensor) -> tuple:
    """Return the gradients; differentiating them again is an error."""

    def gradient(*_: tf.Tensor) -> tuple:
        raise NotImplementedError(
            "The loss of a head has first derivatives only. Received: a gradient of its gradient"
        )

    return gradients, gradient


def _by_rows_and_kernel(
    rows: tf.Tensor, block: Block, entries: tf.Tensor, factors: tf.Tensor, products: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return gradients by rows and kernel; factors * entries is the gradient by the products.

    With u the unit class weight, dL/dw = (dL/du - (u . dL/du) u) / |w|, and u . dL/du is the
    sum over the batch of gradient times product: a pass over (B, C) instead of (D, C).
    """
    kernel, inverse = block.kernel, block.inverse
    factors = tf.expand_dims(factors, 1)
    along = None
    if inverse is not None:
        along = tf.matmul(factors, entries * products, transpose_a=True)
        # Below its floor the norm is a constant.
        floored = inverse >= 1.0 / NORM_FLOOR
        along = tf.where(floored, tf.zeros_like(along), along * tf.square(inverse))
        # In this order, for the memory: the products are freed before a (D, C_b) is made.
        with tf.control_dependencies([along]):
            entries *= inverse
    by_rows = tf.matmul(entries, kernel, transpose_b=True) * factors
    with tf.control_dependencies([by_rows]):
        by_kernel = tf.matmul(rows * factors, entries, transpose_a=True)
        if along is not None:
            by_kernel -= kernel * along
    return by_rows, by_kernel
