"""The target logit of each sample, and one number for all negative classes, in one operation.

A softmax head is a function of two numbers a sample: the logit of its target class, where the
margin is applied, and the log-sum-exp of the logits of the other classes, the negatives:

    cross-entropy = -log( e^target / (e^target + e^negatives) ) = softplus(negatives - target)

`target_and_negatives` computes both, and their gradients, in one operation that passes over the
(B, C) logits as seldom as it can. A margin is then arithmetic on B numbers, which the backend
differentiates as usual.

The classes may be sharded over the replicas of a strategy. Each replica then computes the blocks
of its own shard, for the samples of all replicas; sums and maxima over the classes include all
replicas.

The kernel may come in blocks of classes. With one block the exponentials of the forward pass
are kept for the backward pass. With several, one block is computed after another and the
backward pass computes their logits again, so that never more than one block of logits exists.
"""

from collections.abc import Sequence
from typing import Any

from keras_sphereface.backend import (
    Tensor,
    in_order,
    matmul,
    ops,
    product_into,
    refuse_gradient,
    scale_in_place,
    subtract_product_in_place,
)
from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.functional.norms import NORM_FLOOR
from keras_sphereface.heads._reductions import Block, Reduction, highest_center

SECOND = "The loss of a head has first derivatives only. Received: a gradient of its gradient"


def target_and_negatives(
    rows: Tensor,
    blocks: Sequence[Block],
    reduction: Reduction,
    products: Tensor | None = None,
    shard: ClassShard | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the target logit of each sample, the reduced negatives, and their highest logit.

    The logits of a block are rows @ kernel, times the inverse norms if there are any, the highest
    of each class where it has several class weights, plus the offset. Gradients are exact, by rows,
    kernels, offsets and the parameters of the reduction; first derivatives only. Where the gradient
    that comes in through the negatives of a softmax is 0, that through the target logit must be 0
    too, as it is in softplus(negatives - target).

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
    computed = ops.stop_gradient(products) if products is not None and single else None

    @ops.custom_gradient
    def operation(rows: Tensor, *tensors: Any) -> tuple:
        if blocks[0].offset is None:
            tensors = (*tensors[:count], *[None] * count, *tensors[count:])
        # Of the tensors that are differentiated by none may come from outside (JAX).
        bound = reduction.with_parameters(tensors[2 * count :])
        shard_blocks = [
            block._replace(kernel=kernel, offset=offset)
            for block, kernel, offset in zip(
                blocks, tensors[:count], tensors[count : 2 * count], strict=True
            )
        ]
        target = ops.zeros_like(rows[:, 0])
        state = bound.start(target)
        for block in shard_blocks:
            # One after another: blocks computed side by side are all in memory at once.
            with in_order([state[1]]):
                block_products, logits = _block_logits(rows, block, computed)
                in_block, inside = block.target.read(logits), block.target.inside
                target = in_block if inside is None else ops.where(inside, in_block, target)
                # Exponentials that are kept must be relative to the highest of all shards.
                state = bound.add(state, logits, block, shard if single else None)
        if shard is not None:
            target, state = shard.sum(target), bound.join(state, shard)
        negatives, highest = bound.finish(state)
        kept = (block_products, logits) if single else None

        def gradient(*args: Tensor, upstream: Any = None) -> tuple:
            upstream = args[0] if upstream is None else upstream
            by_target, by_negatives = upstream[0], upstream[1]
            by_rows = ops.zeros_like(rows)
            by_kernels: list[Tensor] = []
            by_offsets, by_parameters = [], []
            for block in shard_blocks:
                with in_order([by_rows, *by_kernels[-1:]]):
                    block_products, logits = kept or _block_logits(rows, block, computed)
                    entries, factors, slopes = bound.entries(
                        logits, block, by_negatives, negatives, state if single else None
                    )
                    at_target = ops.divide_no_nan(by_target, factors)
                    # In place: the entries of the targets are never read before.
                    entries = block.target.write(entries, at_target, overwrite=True)
                    if block.offset is not None:
                        by_offsets.append(matmul(entries, factors[:, None], transpose_a=True)[:, 0])
                    entries = block.spread(entries, block_products)
                    by_row, by_kernel = _by_rows_and_kernel(
                        rows, block, entries, factors, block_products
                    )
                    by_rows = by_rows + by_row
                    by_kernels.append(by_kernel)
                    by_parameters.append(slopes)
            parameters = list(map(sum, zip(*by_parameters, strict=True)))
            if shard is not None:
                by_rows, parameters = shard.sum(by_rows), [shard.sum(p) for p in parameters]
            gradients = (by_rows, *by_kernels, *by_offsets, *parameters)
            return tuple(refuse_gradient(each, NotImplementedError(SECOND)) for each in gradients)

        # One tensor, since the hook of Keras for PyTorch takes no more.
        return ops.stack([target, negatives, highest]), gradient

    results = operation(
        rows,
        *(block.kernel for block in blocks),
        *(block.offset for block in blocks if block.offset is not None),
        *reduction.parameters,
    )
    return results[0], results[1], ops.stop_gradient(results[2])


def _block_logits(rows: Tensor, block: Block, products: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the products (B, K C_b), unless computed already, and the logits (B, C_b)."""
    if products is None:
        products = matmul(rows, block.kernel)
        products = products if block.inverse is None else scale_in_place(products, block.inverse)
    logits = highest_center(products, block.centers)
    return products, logits if block.offset is None else logits + block.offset


def _by_rows_and_kernel(
    rows: Tensor, block: Block, entries: Tensor, factors: Tensor, products: Tensor
) -> tuple[Tensor, Tensor]:
    """Return gradients by rows and kernel; factors * entries is the gradient by the products.

    With u the unit class weight, dL/dw = (dL/du - (u . dL/du) u) / |w|, and u . dL/du is the
    sum over the batch of gradient times product: a pass over (B, C) instead of (D, C).
    """
    kernel, inverse = block.kernel, block.inverse
    factors = factors[:, None]
    along = None
    if inverse is not None:
        weighted = entries * products
        along = matmul(factors, weighted, transpose_a=True)
        # Below its floor the norm is a constant.
        floored = inverse >= 1.0 / NORM_FLOOR
        along = ops.where(floored, ops.zeros_like(along), along * ops.square(inverse))
        # In this order, for the memory: the products are freed before a (D, C_b) is made.
        with in_order([along]):
            entries = product_into(weighted, entries, inverse)
    by_rows = matmul(entries, kernel, transpose_b=True) * factors
    with in_order([by_rows]):
        by_kernel = matmul(rows * factors, entries, transpose_a=True)
        if along is not None:
            by_kernel = subtract_product_in_place(by_kernel, kernel, along)
    return by_rows, by_kernel
