"""Blocks of class weights: their arguments, start values, logits and target columns."""

from typing import Any, TypedDict

from keras.initializers import Initializer
from keras.regularizers import Regularizer

from keras_sphereface.backend import Tensor, ops
from keras_sphereface.functional.norms import inverse_norms, l2_norm
from keras_sphereface.heads._partial_fc import sample_classes
from keras_sphereface.heads._reductions import Block, columns_in_block, target_class
from keras_sphereface.losses.context import HeadContext


class ClassWeightArguments(TypedDict, total=False):
    """Arguments of `AngularHead` that every subclass takes as they are."""

    kernel_norm: str
    block_size: int | None
    sample_rate: float
    seed: int
    kernel_initializer: str | Initializer
    kernel_regularizer: str | Regularizer | None
    dtype: str | None
    name: str
    trainable: bool
    margin_required: bool


def block_initializer(initializer: Initializer, block: int) -> Initializer:
    """Return the initializer of one of several blocks, with a different seed.

    One for all would give every block the same start weights.

    Raises:
        ValueError: If the initializer has no configuration or another kind of seed.
    """
    has_config = hasattr(initializer, "get_config")
    config: dict[str, Any] = initializer.get_config() if has_config else {"seed": ""}
    if not isinstance(config.get("seed", 0), int | None):
        raise ValueError(
            "With several blocks, `kernel_initializer` must be an initializer with a "
            f"`get_config` and a seed that is an int or None. Received: {initializer!r}"
        )
    if isinstance(config.get("seed"), int):
        config["seed"] += block
    return type(initializer).from_config(config)


def unit_columns(initializer: Initializer) -> Initializer:
    """Return an initializer that makes the columns of unit length."""

    def initialize(shape: tuple[int, ...], dtype: Any = None, **kwargs: Any) -> Tensor:
        kernel = initializer(shape, dtype=dtype, **kwargs)
        return kernel * inverse_norms(kernel)

    return initialize


def blocks_of(head: Any, context: HeadContext, labels: Tensor) -> list[Block]:
    """Return the blocks of all classes, or of the shard; in training a sample of each."""
    kernels, shard = context.kernels, context.shard
    start, first, replicas = 0, 0, 1
    if shard is not None:
        start, first, replicas = shard.start, shard.replica * len(kernels), shard.replicas
    missing = [None] * len(kernels)
    weights = zip(kernels, context.biases or missing, context.inverses or missing, strict=True)
    blocks = []
    for i, (kernel, bias, inverse) in enumerate(weights):
        if is_sampled(head, context):
            step = ops.cast(context.step % 2**20, "int32")
            seed = (head.seed, step * (len(kernels) * replicas) + first + i)
            block, _ = sample_classes(
                kernel,
                labels,
                start,
                head.sample_rate,
                seed,
                bias,
                head.through_norm,
                head.num_centers,
            )
            blocks.append(block)
        else:
            inside_all = len(kernels) == replicas == 1
            width = kernel.shape[1] // head.num_centers
            target = target_class(labels, start, width, inside_all)
            # The gradient by the kernel goes through the norm all the same.
            inverse = None if inverse is None else ops.stop_gradient(inverse)
            centers, excluded = head.num_centers, context.excluded
            blocks.append(Block(kernel, target, bias, None, inverse, centers, excluded))
        start += kernel.shape[1] // head.num_centers
    return blocks


def is_sampled(head: Any, context: HeadContext) -> bool:
    """Return whether this call of a head looks at a sample of the classes."""
    return context.training and head.sample_rate < 1.0


def target_weights(context: HeadContext, labels: Tensor) -> Tensor:
    """Return the class weight of each sample's target class, (B, D), without a gradient."""
    start, weights = context.shard.start if context.shard else 0, ops.zeros_like(context.rows)
    for kernel in context.kernels:
        width = kernel.shape[1]
        inside, within = columns_in_block(labels, start, width)
        in_block = ops.transpose(ops.take(kernel, within, axis=1))
        weights = ops.where(inside[:, None], in_block, weights)
        start += width
    if context.shard is not None:
        weights = context.shard.sum(weights)
    return ops.stop_gradient(weights)


def cosines_to_targets(context: HeadContext, labels: Tensor) -> Tensor:
    """Return the cosine to each sample's target class weight, (B,), without a gradient.

    For heads that need them before the logits of the other classes are computed.
    """
    weights = target_weights(context, labels)
    products = ops.sum(ops.stop_gradient(context.embeddings) * weights, axis=1)
    return products / (ops.stop_gradient(context.norms) * l2_norm(weights))[:, 0]
