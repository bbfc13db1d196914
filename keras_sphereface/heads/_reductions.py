"""Blocks of classes, and how the logits of the negative classes become one number a sample."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_sphereface.backend import (
    Tensor,
    dtype_of,
    exp_in_place,
    ops,
    pick,
    put,
    vector_jacobian,
)
from keras_sphereface.distribute.collectives import ClassShard

State = tuple[Any, ...]
Entries = tuple[Tensor, Tensor, tuple[Tensor, ...]]


class TargetClass(NamedTuple):
    """Positions of the target classes in a block of logits (B, C_b).

    Attributes:
        columns: (B,) int32; any column where the class is not in the block.
        inside: (B,) bool, True if the class is in this block; None: all are.
    """

    columns: Tensor
    inside: Tensor | None = None

    def read(self, block: Tensor) -> Tensor:
        """Return the target logits, (B, C_b) -> (B,); any value for classes of other blocks."""
        return pick(block, self.columns)

    def write(self, block: Tensor, values: Tensor, overwrite: bool = False) -> Tensor:
        """Return `block`, or with `overwrite` itself, with `values` (B,) at the target classes."""
        if self.inside is not None:
            values = ops.where(self.inside, values, self.read(block))
        return put(block, self.columns, values, overwrite)


def columns_in_block(classes: Tensor, start: int, width: int) -> tuple[Tensor, Tensor]:
    """Return whether classes are in [start, start + width), and their columns (or any column)."""
    inside = (classes >= start) & (classes < start + width)
    return inside, ops.clip(classes - start, 0, width - 1)


def target_class(labels: Tensor, start: int, width: int, inside_all: bool) -> TargetClass:
    """Return the target classes of `labels` (B,) in the block [start, start + width)."""
    if inside_all:
        return TargetClass(labels)
    inside, columns = columns_in_block(labels, start, width)
    return TargetClass(columns, inside)


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
        centers: K, the number of class weights of each class, whose columns are neighbors. With
            more than one, all of (D, C_b) and (C_b,) here but `counts` are K times as wide, and
            the logit of a class is the highest of its class weights (sub-centers).
        excluded: (B, C_b) bool, True where a class is no negative of a sample, such as a second
            prototype of the sample's identity; None: every class but the target is one. Only for a
            block that holds all classes.
    """

    kernel: Tensor
    target: TargetClass
    offset: Tensor | None = None
    counts: Tensor | None = None
    inverse: Tensor | None = None
    centers: int = 1
    excluded: Tensor | None = None

    def negatives_only(self, values: Tensor, fill: Tensor) -> Tensor:
        """Return (B, C_b) values with `fill` (B,) in place of what is no negative class."""
        if self.excluded is not None:
            values = ops.where(self.excluded, fill[:, None], values)
        return self.target.write(values, fill)

    def spread(self, entries: Tensor, products: Tensor) -> Tensor:
        """Return the gradient by the products (B, K C_b) of one (B, C_b) by the logits.

        The first of the highest sub-centers of a class takes all of it.
        """
        if self.centers == 1:
            return entries
        shaped = ops.reshape(products, [-1, ops.shape(entries)[1], self.centers])
        first = ops.cast(ops.argmax(shaped, axis=2), "int32")[:, :, None]
        chosen = first == ops.arange(self.centers, dtype="int32")
        spread = ops.where(chosen, entries[:, :, None], ops.zeros_like(shaped))
        return ops.reshape(spread, ops.shape(products))


def highest_center(products: Tensor, centers: int) -> Tensor:
    """Return the highest product of each class: (B, K C) -> (B, C), K being `centers`."""
    if centers == 1:
        return products
    return ops.max(ops.reshape(products, [-1, products.shape[1] // centers, centers]), axis=2)


class LogSumExp:
    """Reduction of the negatives for a softmax: log sum count * exp(transform(logit)).

    Args:
        transform: Maps a block of logits to one of the same shape. It must never fall, and its
            slope counts as 1 (a detached gradient). None: the logits themselves.
    """

    parameters: tuple[Tensor, ...] = ()

    def __init__(self, transform: Callable[[Tensor], Tensor] | None = None):
        self.transform = transform or (lambda logits: logits)

    def with_parameters(self, parameters: Sequence[Tensor]) -> "LogSumExp":
        """Return the same reduction with other values of the parameters."""
        del parameters
        return self

    def start(self, zeros: Tensor) -> State:
        """Return the state before the first block: highest (B,), sum (B,), no exponentials."""
        self.minus_infinity = zeros - float("inf")
        return self.minus_infinity, zeros, None

    def add(
        self, state: State, logits: Tensor, block: Block, shard: ClassShard | None = None
    ) -> State:
        """Return the state after one more block.

        The sum is relative to e^highest, the highest of all shards if `shard` is given.
        """
        before, total, _ = state
        # The target goes first: beside a high one the exponentials of the others vanish.
        others = block.negatives_only(self.transform(logits), self.minus_infinity)
        highest = ops.maximum(before, ops.max(others, axis=1))
        highest = highest if shard is None else shard.max(highest)
        # It is -inf after a block that holds nothing but the target class.
        shift = ops.maximum(highest, float(np.finfo(dtype_of(total)).min))
        exponentials = exp_in_place(others, shift[:, None])
        if block.counts is not None:
            exponentials = exponentials * block.counts
        total = total * ops.exp(before - shift) + ops.sum(exponentials, axis=1)
        return highest, total, exponentials

    def join(self, state: State, shard: ClassShard) -> State:
        """Return the state after the blocks of all shards."""
        before, total, exponentials = state
        highest = shard.max(before)
        return highest, shard.sum(total * ops.exp(before - highest)), exponentials

    def finish(self, state: State) -> tuple[Tensor, Tensor]:
        """Return the reduced negatives (B,) and the highest (B,)."""
        highest, total, _ = state
        return highest + ops.log(total), highest

    def entries(
        self,
        logits: Tensor,
        block: Block,
        upstream: Tensor,
        negatives: Tensor,
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
        exponentials = ops.exp(self.transform(logits) - negatives[:, None])
        return exponentials if block.counts is None else exponentials * block.counts, upstream, ()


class SlopedLogSumExp(LogSumExp):
    """Reduction of the negatives for a softmax of changed logits: log sum count * exp(change).

    Unlike the transform of `LogSumExp` the change may fall, and its slope is given. What the target
    logit is compared with is the highest of the logits themselves.

    Args:
        change: Maps a block of logits to one of the same shape.
        slope: Maps a block of logits to the slope of `change`, as the gradient takes it.
    """

    def __init__(self, change: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]):
        super().__init__()
        self.change, self.slope = change, slope

    def start(self, zeros: Tensor) -> State:
        return (*super().start(zeros), self.minus_infinity)

    def add(
        self, state: State, logits: Tensor, block: Block, shard: ClassShard | None = None
    ) -> State:
        *changed, before = state
        others = block.negatives_only(logits, self.minus_infinity)
        highest = ops.maximum(before, ops.max(others, axis=1))
        return (*super().add(tuple(changed), self.change(logits), block, shard), highest)

    def join(self, state: State, shard: ClassShard) -> State:
        *changed, highest = state
        return (*super().join(tuple(changed), shard), shard.max(highest))

    def finish(self, state: State) -> tuple[Tensor, Tensor]:
        *changed, highest = state
        return super().finish(tuple(changed))[0], highest

    def entries(
        self,
        logits: Tensor,
        block: Block,
        upstream: Tensor,
        negatives: Tensor,
        kept: State | None,
    ) -> Entries:
        changed = None if kept is None else kept[:3]
        entries, factors, _ = super().entries(
            self.change(logits), block, upstream, negatives, changed
        )
        return entries * self.slope(logits), factors, ()


class WeightedSum:
    """Reduction of the negatives for binary losses: sum count * entry(logit, *parameters).

    Its methods are those of `LogSumExp`.

    Args:
        entry: Maps a block of logits and the parameters to a block of the same shape.
        parameters: Tensors by which the sum is differentiated too.
    """

    def __init__(self, entry: Callable[..., Tensor], parameters: Sequence[Tensor] = ()):
        self.entry = entry
        self.parameters = tuple(parameters)

    def with_parameters(self, parameters: Sequence[Tensor]) -> "WeightedSum":
        return WeightedSum(self.entry, parameters)

    def transform(self, logits: Tensor) -> Tensor:
        return logits

    def start(self, zeros: Tensor) -> State:
        self.minus_infinity = zeros - float("inf")
        return self.minus_infinity, zeros

    def add(
        self, state: State, logits: Tensor, block: Block, shard: ClassShard | None = None
    ) -> State:
        del shard
        before, total = state
        others = block.negatives_only(logits, self.minus_infinity)
        highest = ops.maximum(before, ops.max(others, axis=1))
        return highest, total + self._sum(logits, block, self.parameters)

    def join(self, state: State, shard: ClassShard) -> State:
        highest, total = state
        return shard.max(highest), shard.sum(total)

    def finish(self, state: State) -> tuple[Tensor, Tensor]:
        highest, total = state
        return total, highest

    def entries(
        self,
        logits: Tensor,
        block: Block,
        upstream: Tensor,
        negatives: Tensor,
        kept: State | None,
    ) -> Entries:
        del negatives, kept
        by_logits, *by_parameters = vector_jacobian(
            lambda logits, *parameters: self._sum(logits, block, parameters),
            [logits, *self.parameters],
            upstream,
        )
        return by_logits, ops.ones_like(upstream), tuple(by_parameters)

    def _sum(self, logits: Tensor, block: Block, parameters: Sequence[Tensor]) -> Tensor:
        entries = self.entry(logits, *parameters)
        entries = entries if block.counts is None else entries * block.counts
        return ops.sum(block.negatives_only(entries, ops.zeros_like(entries[:, 0])), axis=1)


Reduction = LogSumExp | WeightedSum
