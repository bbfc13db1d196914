"""The own logit of each sample, and one number for all its other classes.

A softmax head is a function of two numbers a sample: the logit of its own class, where the
margin goes, and the log-sum-exp of the logits of the other classes, its "rest":

    cross-entropy = -log( e^target / (e^target + e^rest) ) = softplus(rest - target)

`target_and_rest_logits` computes both, and their gradients, in one operation that passes over the
(B, C) logits as seldom as it can. A margin is then arithmetic on B numbers, which TensorFlow
differentiates as usual.

The classes may be split over the replicas of a strategy. Each then works on the blocks of its own
part, for the samples of all replicas; sums and maxima over the classes go over the replicas, too.

The kernel may come in blocks of classes. With one block the exponentials of the forward pass
are kept for the backward pass. With several, the blocks are worked through one after another
and the backward pass computes their logits again, so that never more than one block of
logits exists.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.functional import norms


class TargetClass(NamedTuple):
    """Where in a block of logits (B, C_b) each sample has its own class."""

    index: tf.Tensor  # (B, 2), row and column; any column where the class is not inside
    inside: tf.Tensor | None = None  # (B,), whether the class is in this block; None: all are

    def read(self, block: tf.Tensor) -> tf.Tensor:
        """(B, C_b) -> (B,); meaningless where the class is not inside."""
        return tf.gather_nd(block, self.index)

    def write(self, block: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """`block` with `values` (B,) at the own classes that are inside."""
        if self.inside is not None:
            values = tf.where(self.inside, values, self.read(block))
        return tf.tensor_scatter_nd_update(block, self.index, values)


def within_block(classes: tf.Tensor, start: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether classes are in [start, start + width), and their columns there (or any column)."""
    inside = (classes >= start) & (classes < start + width)
    return inside, tf.clip_by_value(classes - start, 0, width - 1)


def target_class(labels: tf.Tensor, start: int, width: int, inside_all: bool) -> TargetClass:
    """The own classes of `labels` (B,) in the block of classes [start, start + width)."""
    rows = tf.range(tf.shape(labels)[0])
    if inside_all:
        return TargetClass(tf.stack([rows, labels], axis=1))
    inside, columns = within_block(labels, start, width)
    return TargetClass(tf.stack([rows, columns], axis=1), inside)


class LogSumExp:
    """The rest of a softmax: log sum count * exp(transform(logit)) over the other classes.

    Args:
        transform: maps a block of logits to one of the same shape. It must never fall, and its
            slope counts as 1 (a detached gradient). None: the logits themselves.
    """

    parameters: tuple[tf.Tensor, ...] = ()

    def __init__(self, transform: Callable[[tf.Tensor], tf.Tensor] | None = None):
        self.transform = transform or (lambda logits: logits)

    def start(self, zeros):
        """Before the first block: the highest logit (B,), the sum (B,), no exponentials."""
        self.nothing = zeros - float("inf")
        return self.nothing, zeros, None

    def add(self, state, logits, own, counts, part=None):
        """After one more block; the sum is relative to e^highest, of all parts if there are any."""
        before, total, _ = state
        # The own logit goes first: beside a high one the exponentials of the others vanish.
        others = own.write(self.transform(logits), self.nothing)
        highest = tf.maximum(before, tf.reduce_max(others, axis=1))
        highest = highest if part is None else part.highest(highest)
        # It is -inf after a block that holds nothing but the own class.
        shift = tf.maximum(highest, total.dtype.min)
        exponentials = tf.exp(others - tf.expand_dims(shift, 1))
        if counts is not None:
            exponentials *= counts
        total = total * tf.exp(before - shift) + tf.reduce_sum(exponentials, axis=1)
        return highest, total, exponentials

    def join(self, state, part):
        """The state after the blocks of all parts."""
        before, total, exponentials = state
        highest = part.highest(before)
        return highest, part.sum(total * tf.exp(before - highest)), exponentials

    def finish(self, state):
        """The rest (B,) and the highest (B,)."""
        highest, total, _ = state
        return highest + tf.math.log(total), highest

    def entries(self, logits, own, counts, upstream, rest, kept):
        """The gradient by a block of logits, and those by the parameters.

        The first comes as entries (B, C_b) still to be multiplied by factors (B,), which are
        better put on the rows of the embeddings. The entry of the own class is left to the
        caller. `kept` is the last state, if that is the state of this block.
        """
        del own
        if kept is not None:
            _, total, exponentials = kept
            return exponentials, upstream / total, ()
        exponentials = tf.exp(self.transform(logits) - tf.expand_dims(rest, 1))
        return exponentials if counts is None else exponentials * counts, upstream, ()


class SumOver:
    """The rest of a loss that is a sum: sum count * entry(logit, *parameters) over the others.

    Args:
        entry: maps a block of logits and the parameters to a block of the same shape.
        parameters: tensors by which the sum is differentiated too.
    """

    def __init__(self, entry: Callable[..., tf.Tensor], parameters: Sequence[tf.Tensor] = ()):
        self.entry = entry
        self.parameters = tuple(parameters)

    def transform(self, logits):
        return logits

    def start(self, zeros):
        self.nothing = zeros - float("inf")
        return self.nothing, zeros

    def add(self, state, logits, own, counts, part=None):
        del part
        before, total = state
        others = own.write(logits, self.nothing)
        highest = tf.maximum(before, tf.reduce_max(others, axis=1))
        return highest, total + self._sum(logits, own, counts)

    def join(self, state, part):
        highest, total = state
        return part.highest(highest), part.sum(total)

    def finish(self, state):
        highest, total = state
        return total, highest

    def entries(self, logits, own, counts, upstream, rest, kept):
        del rest, kept
        sources = [logits, *self.parameters]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            total = self._sum(logits, own, counts)
        by_logits, *by_parameters = tape.gradient(total, sources, output_gradients=upstream)
        return by_logits, tf.ones_like(upstream), tuple(by_parameters)

    def _sum(self, logits, own, counts):
        entries = self.entry(logits, *self.parameters)
        entries = entries if counts is None else entries * counts
        return tf.reduce_sum(own.write(entries, tf.zeros_like(entries[:, 0])), axis=1)


class Block(NamedTuple):
    """Some classes, and what belongs to them."""

    kernel: tf.Tensor  # (D, C_b)
    own: TargetClass
    offset: tf.Tensor | None = None  # (C_b,), added to the logits
    counts: tf.Tensor | None = None  # (C_b,), how many classes each stands for; a constant
    # (C_b,), `angular.inverse_norms(kernel)`, where only the direction of a class weight counts.
    # As a number it is constant; the gradient by the kernel goes through the norm all the same.
    inverse: tf.Tensor | None = None


def target_and_rest_logits(
    rows: tf.Tensor,
    blocks: Sequence[Block],
    rest: LogSumExp | SumOver,
    products: tf.Tensor | None = None,
    part: ClassShard | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The logit of each sample's own class, the rest, and the highest of the others.

    The logits of a block are rows @ kernel, times the inverse norms if there are any, plus the
    offset. Gradients are exact, by rows, kernels, offsets and the parameters of the rest; first
    derivatives only. Where the gradient that comes in through the rest of a softmax is 0, that
    through the own logit must be 0 too, as it is in softplus(rest - own).

    Args:
        rows: (B, D), the embeddings, scaled as the logits shall be.
        blocks: all classes, or those of the part; each sample's own class is inside one block (of
            one replica). Either all have an offset or none has.
        rest: how the logits of the other classes become one number.
        products: rows @ kernel (times the inverse norms) of a single block, if known already.
        part: where the classes are split over replicas, the part of this one. Rows and what is
            returned are those of all replicas' samples, and so are the gradients by rows and
            parameters.

    Returns:
        own (B,); rest (B,); and highest (B,), the largest logit of another class, transformed as
        the rest does it, without a gradient.
    """
    count, single = len(blocks), len(blocks) == 1

    def forward(rows, kernel, offset, inverse):
        """Products and logits of one block."""
        if products is not None and single:
            known = tf.stop_gradient(products)
        else:
            known = tf.matmul(rows, kernel)
            known = known if inverse is None else known * inverse
        return known, known if offset is None else known + offset

    @tf.custom_gradient
    def operation(rows, *tensors):
        kernels = tensors[:count]
        offsets = tensors[count : 2 * count] if blocks[0].offset is not None else [None] * count
        parts = list(zip(kernels, offsets, blocks, strict=True))
        own_logits = tf.zeros_like(rows[:, 0])
        state = rest.start(own_logits)
        for kernel, offset, block in parts:
            own = block.own
            # One after another: blocks that are worked on side by side are all in memory at once.
            with tf.control_dependencies([state[1]]):
                known, logits = forward(rows, kernel, offset, block.inverse)
                here = own.read(logits)
                own_logits = here if own.inside is None else tf.where(own.inside, here, own_logits)
                # Exponentials that are kept must be relative to the highest of all parts.
                state = rest.add(state, logits, own, block.counts, part if single else None)
        if part is not None:
            own_logits, state = part.sum(own_logits), rest.join(state, part)
        total, highest = rest.finish(state)
        kept = (known, logits) if single else None

        def gradient(by_own, by_rest, _):
            by_rows, by_kernels, by_offsets, by_parameters = tf.zeros_like(rows), [], [], []
            for kernel, offset, block in parts:
                with tf.control_dependencies([by_rows, *by_kernels[-1:]]):
                    known, logits = kept or forward(rows, kernel, offset, block.inverse)
                    entries, factors, slopes = rest.entries(
                        logits, block.own, block.counts, by_rest, total, state if single else None
                    )
                    entries = block.own.write(entries, tf.math.divide_no_nan(by_own, factors))
                    if offset is not None:
                        by_offsets.append(tf.linalg.matvec(entries, factors, transpose_a=True))
                    by_row, by_kernel = _by_rows_and_kernel(
                        rows, kernel, entries, factors, known, block.inverse
                    )
                    by_rows += by_row
                    by_kernels.append(by_kernel)
                    by_parameters.append(slopes)
            parameters = list(map(tf.add_n, zip(*by_parameters, strict=True)))
            if part is not None:
                by_rows, parameters = part.sum(by_rows), [part.sum(p) for p in parameters]
            return _without_slope(by_rows, *by_kernels, *by_offsets, *parameters)

        return (own_logits, total, highest), gradient

    own, total, highest = operation(
        rows,
        *(block.kernel for block in blocks),
        *(block.offset for block in blocks if block.offset is not None),
        *rest.parameters,
    )
    return own, total, tf.stop_gradient(highest)


@tf.custom_gradient
def _without_slope(*gradients):
    """The gradients as they are; to differentiate them again is an error, not a wrong number."""

    def gradient(*_):
        raise NotImplementedError(
            "The loss of a head has first derivatives only. Received: a gradient of its gradient"
        )

    return gradients, gradient


def _by_rows_and_kernel(rows, kernel, entries, factors, products, inverse):
    """The gradients by rows and kernel, given factors * entries, that by the products.

    With u the unit class weight, dL/dw = (dL/du - (u . dL/du) u) / |w|, and u . dL/du is the
    sum over the batch of gradient times product: a pass over (B, C) instead of (D, C).
    """
    factors = tf.expand_dims(factors, 1)
    along = None
    if inverse is not None:
        along = tf.matmul(factors, entries * products, transpose_a=True)
        # Below its floor the norm is a constant.
        floored = inverse >= 1.0 / norms.NORM_FLOOR
        along = tf.where(floored, tf.zeros_like(along), along * tf.square(inverse))
        # In this order, for the memory: the products are let go before a (D, C_b) is taken.
        with tf.control_dependencies([along]):
            entries *= inverse
    by_rows = tf.matmul(entries, kernel, transpose_b=True) * factors
    with tf.control_dependencies([by_rows]):
        by_kernel = tf.matmul(rows * factors, entries, transpose_a=True)
        if along is not None:
            by_kernel -= kernel * along
    return by_rows, by_kernel


def sample_classes(
    kernel: tf.Tensor,
    labels: tf.Tensor,
    start: int,
    rate: float,
    seed: tf.Tensor,
    bias: tf.Tensor | None = None,
    normalize: bool = True,
) -> tuple[Block, tf.Tensor]:
    """The batch's own classes of a block, and a random share of the others (Partial FC).

    Of n other classes, k are drawn without replacement, each with the same chance, and each
    counts n / k times. So any sum over classes is estimated without bias. (The logarithm of
    such a sum, in the softmax loss, is low on average, by about half the squared relative
    error of the sum.)

    Args:
        kernel: (D, C_b), the class weights of the classes [start, start + C_b).
        labels: (B,), int32.
        start: the first class of the block.
        rate: in (0, 1]; rate * C_b classes are kept, and at least B + 1, so that those of the batch
            are among them and one more.
        seed: (2,) int32, for `tf.random.stateless_uniform`.
        bias: (C_b,), or None.
        normalize: whether only the direction of a class weight counts.

    Returns:
        The block of the sample, and the sampled classes (K,), counted within the given block.

    Reference: An et al., "Partial FC: Training 10 Million Identities on a Single Machine",
    2021, which samples in this way but lets every class count once.
    """
    width, batch_size = kernel.shape[1], tf.shape(labels)[0]
    inside, within = within_block(labels, start, width)
    # Own classes have a key above every random one, so that they are always among the highest.
    keys = tf.tensor_scatter_nd_max(
        tf.random.stateless_uniform([width], seed), within[:, None], tf.where(inside, 2.0, 0.0)
    )
    count = tf.minimum(tf.maximum(math.ceil(rate * width), batch_size + 1), width)
    values, chosen = tf.math.top_k(keys, count)
    is_own = values > 1.0
    num_own = tf.reduce_sum(tf.cast(is_own, kernel.dtype))
    num_drawn = tf.maximum(tf.cast(count, kernel.dtype) - num_own, 1.0)
    share = (width - num_own) / num_drawn
    counts = tf.where(is_own, tf.ones_like(share), share)
    places = places_of(chosen, width)
    own_columns = tf.minimum(tf.gather(places, within), count - 1)
    own = TargetClass(tf.stack([tf.range(batch_size), own_columns], axis=1), inside)
    offset = None if bias is None else gather_columns(bias[None], chosen, places)[0]
    columns = gather_columns(kernel, chosen, places)
    inverse = tf.stop_gradient(norms.inverse_norms(columns)) if normalize else None
    return Block(columns, own, offset, counts, inverse), chosen


def places_of(chosen: tf.Tensor, size: int) -> tf.Tensor:
    """The place of each of 0 ... size - 1 in `chosen` (K,), all different; K where it has none."""
    count = tf.size(chosen)
    return tf.tensor_scatter_nd_update(tf.fill([size], count), chosen[:, None], tf.range(count))


def gather_columns(kernel: tf.Tensor, chosen: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """`kernel` (D, C) -> its columns `chosen` (K,), as (D, K), with a gradient in one pass.

    Args:
        kernel: (D, C).
        chosen: (K,).
        places: (C,), for each column the place in `chosen` from which it takes its gradient, or K
            for none; `places_of(chosen, C)` where all of `chosen` are different.
    """

    @tf.custom_gradient
    def gather(kernel):
        def gradient(by_columns):
            # Every column takes what is its own, and those not chosen a column of zeros.
            return tf.gather(tf.pad(by_columns, [[0, 0], [0, 1]]), places, axis=1)

        return tf.gather(kernel, chosen, axis=1), gradient

    return gather(kernel)
