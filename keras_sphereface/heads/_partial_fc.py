"""Partial FC: the loss of a step looks at the batch's classes and at a sample of the others."""

import math
from collections.abc import Sequence
from typing import Any

from keras_sphereface.backend import Tensor, dtype_of, ops, uniform
from keras_sphereface.functional.norms import inverse_norms
from keras_sphereface.heads._reductions import Block, TargetClass, columns_in_block


def sample_classes(
    kernel: Tensor,
    labels: Tensor,
    start: int,
    rate: float,
    seed: Sequence[Any],
    bias: Tensor | None = None,
    normalize: bool = True,
    centers: int = 1,
) -> tuple[Block, Tensor]:
    """Return the batch's classes of a block with a random sample of its other classes.

    Of n other classes, k are drawn without replacement, each with the same chance, and each
    counts n / k times. So any sum over classes is estimated without bias. (The logarithm of
    such a sum, in the softmax loss, is low on average, by about half the squared relative
    error of the sum.)

    Args:
        kernel: (D, K C_b), the class weights of the classes [start, start + C_b).
        labels: (B,), int32.
        start: First class of the block.
        rate: In (0, 1]; rate * C_b classes are kept, and at least B + 1, so that those of the batch
            are among them and one more.
        seed: Two whole numbers >= 0, the seed of `backend.uniform`.
        bias: (C_b,), or None.
        normalize: Whether only the direction of a class weight counts.
        centers: K, the number of class weights of a class.

    Returns:
        The block of the sample, and the sampled classes (K,), counted within the given block.

    Reference: An et al., "Partial FC: Training 10 Million Identities on a Single Machine",
    2021, which samples in this way but lets every class count once.
    """
    width = kernel.shape[1] // centers
    batch_size, dtype = ops.shape(labels)[0], dtype_of(kernel)
    inside, within = columns_in_block(labels, start, width)
    # Target classes have a key above every random one, so that they are always among the highest.
    segments = ops.where(inside, within, ops.ones_like(within) * width)
    occurs = ops.segment_sum(ops.ones_like(segments), segments, width + 1)[:width] > 0
    keys = ops.convert_to_tensor(uniform(width, seed))
    keys = ops.where(occurs, ops.ones_like(keys) * 2.0, keys)
    count = _clipped(batch_size + 1, math.ceil(rate * width), width)
    values, chosen = ops.top_k(keys, count)
    chosen = ops.cast(chosen, "int32")
    is_target = values > 1.0
    num_targets = ops.sum(ops.cast(is_target, dtype))
    num_drawn = ops.maximum(ops.cast(count, dtype) - num_targets, 1.0)
    share = (width - num_targets) / num_drawn
    counts = ops.where(is_target, ops.ones_like(share), share)
    ranks = ranks_of(chosen, width)
    target = TargetClass(ops.minimum(ops.take(ranks, within, axis=0), count - 1), inside)
    offset = None if bias is None else gather_columns(bias[None], chosen, ranks)[0]
    columns = gather_columns(kernel, *_of_centers(chosen, ranks, centers))
    inverse = ops.stop_gradient(inverse_norms(columns)) if normalize else None
    return Block(columns, target, offset, counts, inverse, centers), chosen


def _of_centers(chosen: Tensor, ranks: Tensor, centers: int) -> tuple[Tensor, Tensor]:
    """Return the columns of chosen classes with several class weights, and their ranks."""
    if centers == 1:
        return chosen, ranks
    every = ops.arange(centers, dtype="int32")[None, :]
    columns = ops.reshape(chosen[:, None] * centers + every, [-1])
    absent = ops.shape(chosen)[0] * centers
    of_columns = ops.reshape(ranks[:, None] * centers + every, [-1])
    return columns, ops.minimum(of_columns, absent)


def _clipped(number: int | Tensor, lowest: int, highest: int) -> int | Tensor:
    """A number of the Python program, which `top_k` needs on JAX, or a tensor of TensorFlow's."""
    if isinstance(number, int):
        return min(max(number, lowest), highest)
    return ops.minimum(ops.maximum(number, lowest), highest)


def ranks_of(chosen: Tensor, size: int) -> Tensor:
    """Return the index of each of 0 ... size - 1 in `chosen` (K,), all different; K if absent."""
    count = ops.shape(chosen)[0]
    absent = ops.full([size], count, dtype="int32")
    return ops.scatter_update(absent, chosen[:, None], ops.arange(count, dtype="int32"))


def gather_columns(kernel: Tensor, chosen: Tensor, ranks: Tensor) -> Tensor:
    """Return the columns `chosen` (K,) of `kernel` (D, C), (D, K), with a gradient in one pass.

    Args:
        kernel: (D, C).
        chosen: (K,).
        ranks: (C,), for each column the index in `chosen` from which it takes its gradient, or K
            for none; `ranks_of(chosen, C)` where all of `chosen` are different.
    """

    @ops.custom_gradient
    def gather(kernel: Tensor) -> tuple:
        def gradient(*args: Tensor, upstream: Any = None) -> Tensor:
            by_columns = args[0] if upstream is None else upstream
            # Every column takes its own gradient, and one that was not chosen a column of zeros.
            return ops.take(ops.pad(by_columns, [[0, 0], [0, 1]]), ranks, axis=1)

        return ops.take(kernel, chosen, axis=1), gradient

    return gather(kernel)
