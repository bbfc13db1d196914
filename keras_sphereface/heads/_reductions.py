"""Blocks of classes, and how the logits of the negative classes become one number a sample."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard

State = tuple[Any, ...]
Entries = tuple[tf.Tensor, tf.Tensor, tuple[tf.Tensor, ...]]


class TargetClass(NamedTuple):
    """Positions of the target classes in a block of logits (B, C_b).

    Attributes:
        index: (B, 2), row and column; any column where the class is not in the block.
        inside: (B,) bool, True if the class is in this block; None: all are.
    """

    index: tf.Tensor
    inside: tf.Tensor | None = None

    def read(self, block: tf.Tensor) -> tf.Tensor:
        """Return the target logits, (B, C_b) -> (B,); any value for classes of other blocks."""
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
