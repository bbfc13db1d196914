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

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.functional.norms import NORM_FLOOR

State = tuple[Any, ...]
Entries = tuple[tf.Tensor, tf.Tensor, tuple[tf.Tensor, ...]]


class TargetClass(NamedTuple):
    """Where a block of logits (B, C_b) holds the target class of each sample.

    Attributes:
        index: (B, 2), row and column; any column where the class is not in the block.
        inside: (B,), whether the class is in this block; None: all are.
    """

    index: tf.Tensor
    inside: tf.Tensor | None = None

    def read(self, block: tf.Tensor) -> tf.Tensor:
        """(B, C_b) -> (B,); meaningless where the class is not in the block."""
        return tf.gather_nd(block, self.index)

    def write(self, block: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Return `block` with `values` (B,) at the target classes that it holds."""
        if self.inside is not None:
            values = tf.where(self.inside, values, self.read(block))
        return tf.tensor_scatter_nd_update(block, self.index, values)


def columns_in_block(classes: tf.Tensor, start: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return whether classes are in [start, start + width), and their columns (or any column)."""
    inside = (classes >= start) & (classes < start + width)
    return inside, tf.clip_by_value(classes - start, 0, width - 1)


def target_class(labels: tf.Tensor, start: int, width: int, inside_all: bool) -> TargetClass:
    """Return the target classes of `labels` (B,) in the block [start, start + width)."""
    rows = tf.range(tf.shape(labels)[0])
    if inside_all:
        return TargetClass(tf.stack([rows, labels], axis=1))
    inside, columns = columns_in_block(labels, start, width)
    return TargetClass(tf.stack([rows, columns], axis=1), inside)


class Block(NamedTuple):
    """Some classes, and what belongs to them.

    Attributes:
        kernel: (D, C_b), class weights.
        target: Where the block holds the target classes.
        offset: (C_b,), added to the logits.
        counts: (C_b,), the number of classes that each stands for; a constant.
        inverse: (C_b,), `inverse_norms(kernel)`, where only the direction of a class weight
            counts. As a number it is constant; the gradient by the kernel goes through the norm
            all the same.
    """

    kernel: tf.Tensor
    target: TargetClass
    offset: tf.Tensor | None = None
    counts: tf.Tensor | None = None
    inverse: tf.Tensor | None = None


class LogSumExp:
    """Reduction of the negatives for a softmax: log sum count * exp(transform(logit)).

    Args:
        transform: Maps a block of logits to one of the same shape. It must never fall, and its
            slope counts as 1 (a detached gradient). None: the logits themselves.
    """

    parameters: tuple[tf.Tensor, ...] = ()

    def __init__(self, transform: Callable[[tf.Tensor], tf.Tensor] | None = None):
        self.transform = transform or (lambda logits: logits)

    def start(self, zeros: tf.Tensor) -> State:
        """Return the state before the first block: highest (B,), sum (B,), no exponentials."""
        self.minus_infinity = zeros - float("inf")
        return self.minus_infinity, zeros, None

    def add(
        self, state: State, logits: tf.Tensor, block: Block, shard: ClassShard | None = None
    ) -> State:
        """Return the state after one more block.

        The sum is relative to e^highest, the highest of all shards if `shard` is given.
        """
        before, total, _ = state
        # The target goes first: beside a high one the exponentials of the others vanish.
        others = block.target.write(self.transform(logits), self.minus_infinity)
        highest = tf.maximum(before, tf.reduce_max(others, axis=1))
        highest = highest if shard is None else shard.max(highest)
        # It is -inf after a block that holds nothing but the target class.
        shift = tf.maximum(highest, total.dtype.min)
        exponentials = tf.exp(others - tf.expand_dims(shift, 1))
        if block.counts is not None:
            exponentials *= block.counts
        total = total * tf.exp(before - shift) + tf.reduce_sum(exponentials, axis=1)
        return highest, total, exponentials

    def join(self, state: State, shard: ClassShard) -> State:
        """Return the state after the blocks of all shards."""
        before, total, exponentials = state
        highest = shard.max(before)
        return highest, shard.sum(total * tf.exp(before - highest)), exponentials

    def finish(self, state: State) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the reduced negatives (B,) and the highest (B,)."""
        highest, total, _ = state
        return highest + tf.math.log(total), highest

    def entries(
        self,
        logits: tf.Tensor,
        block: Block,
        upstream: tf.Tensor,
        negatives: tf.Tensor,
        kept: State | None,
    ) -> Entries:
        """Return the gradient by a block of logits, and those by the parameters.

        The first comes as entries (B, C_b) still to be multiplied by factors (B,), which are
        better applied to the rows of the embeddings. The caller replaces the entries of the
        target classes. `kept` is the last state, if that is the state of this block.
        """
        if kept is not None:
            _, total, exponentials = kept
            return exponentials, upstream / total, ()
        exponentials = tf.exp(self.transform(logits) - tf.expand_dims(negatives, 1))
        return exponentials if block.counts is None else exponentials * block.counts, upstream, ()


class WeightedSum:
    """Reduction of the negatives for binary losses: sum count * entry(logit, *parameters).

    Its methods are those of `LogSumExp`.

    Args:
        entry: Maps a block of logits and the parameters to a block of the same shape.
        parameters: Tensors by which the sum is differentiated too.
    """

    def __init__(self, entry: Callable[..., tf.Tensor], parameters: Sequence[tf.Tensor] = ()):
        self.entry = entry
        self.parameters = tuple(parameters)

    def transform(self, logits: tf.Tensor) -> tf.Tensor:
        return logits

    def start(self, zeros: tf.Tensor) -> State:
        self.minus_infinity = zeros - float("inf")
        return self.minus_infinity, zeros

    def add(
        self, state: State, logits: tf.Tensor, block: Block, shard: ClassShard | None = None
    ) -> State:
        del shard
        before, total = state
        others = block.target.write(logits, self.minus_infinity)
        highest = tf.maximum(before, tf.reduce_max(others, axis=1))
        return highest, total + self._sum(logits, block)

    def join(self, state: State, shard: ClassShard) -> State:
        highest, total = state
        return shard.max(highest), shard.sum(total)

    def finish(self, state: State) -> tuple[tf.Tensor, tf.Tensor]:
        highest, total = state
        return total, highest

    def entries(
        self,
        logits: tf.Tensor,
        block: Block,
        upstream: tf.Tensor,
        negatives: tf.Tensor,
        kept: State | None,
    ) -> Entries:
        del negatives, kept
        sources = [logits, *self.parameters]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            total = self._sum(logits, block)
        by_logits, *by_parameters = tape.gradient(total, sources, output_gradients=upstream)
        return by_logits, tf.ones_like(upstream), tuple(by_parameters)

    def _sum(self, logits: tf.Tensor, block: Block) -> tf.Tensor:
        entries = self.entry(logits, *self.parameters)
        entries = entries if block.counts is None else entries * block.counts
        return tf.reduce_sum(block.target.write(entries, tf.zeros_like(entries[:, 0])), axis=1)


Reduction = LogSumExp | WeightedSum


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
        own_blocks = [
            block._replace(kernel=kernel, offset=offset)
            for block, kernel, offset in zip(
                blocks, tensors[:count], tensors[count : 2 * count], strict=True
            )
        ]
        target = tf.zeros_like(rows[:, 0])
        state = reduction.start(target)
        for block in own_blocks:
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
            for block in own_blocks:
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
    """The products (B, C_b), unless computed already, and the logits (B, C_b) of a block."""
    if products is None:
        products = tf.matmul(rows, block.kernel)
        products = products if block.inverse is None else products * block.inverse
    return products, products if block.offset is None else products + block.offset


@tf.custom_gradient
def _first_derivatives(*gradients: tf.Tensor) -> tuple:
    """The gradients as they are; to differentiate them again is an error, not a wrong number."""

    def gradient(*_: tf.Tensor) -> tuple:
        raise NotImplementedError(
            "The loss of a head has first derivatives only. Received: a gradient of its gradient"
        )

    return gradients, gradient


def _by_rows_and_kernel(
    rows: tf.Tensor, block: Block, entries: tf.Tensor, factors: tf.Tensor, products: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients by rows and kernel, where factors * entries is the gradient by the products.

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
