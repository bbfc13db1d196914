"""Blocks of class weights: their arguments, start values, logits and target columns."""

from typing import Any, TypedDict

import tensorflow as tf
from keras.initializers import Initializer
from keras.regularizers import Regularizer

from keras_sphereface.functional.norms import inverse_norms
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

    def initialize(shape: tuple[int, ...], dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        kernel = initializer(shape, dtype=dtype, **kwargs)
        return kernel * inverse_norms(kernel)

    return initialize


def blocks_of(context: HeadContext, labels: tf.Tensor) -> list[Block]:
    """Return the blocks of all classes, or of the shard; in training a sample of each."""
    head, kernels, shard = context.head, context.kernels, context.shard
    start, first, replicas = 0, 0, 1
    if shard is not None:
        start, first, replicas = shard.start, shard.replica * len(kernels), shard.replicas
    missing = [None] * len(kernels)
    weights = zip(kernels, context.biases or missing, context.inverses or missing, strict=True)
    blocks = []
    for i, (kernel, bias, inverse) in enumerate(weights):
        if is_sampled(context):
            step = tf.cast(context.step % 2**20, tf.int32)
            seed = tf.stack([head.seed, step * (len(kernels) * replicas) + first + i])
            block, _ = sample_classes(
                kernel, labels, start, head.sample_rate, seed, bias, head.through_norm
            )
            blocks.append(block)
        else:
            inside_all = len(kernels) == replicas == 1
            target = target_class(labels, start, kernel.shape[1], inside_all)
            blocks.append(Block(kernel, target, bias, inverse=inverse))
        start += kernel.shape[1]
    return blocks


def is_sampled(context: HeadContext) -> bool:
    """Return whether this call looks at a sample of the classes."""
    return context.training and context.head.sample_rate < 1.0


def target_weights(context: HeadContext, labels: tf.Tensor) -> tf.Tensor:
    """Return the class weight of each sample's target class, (B, D), without a gradient."""
    start, weights = context.shard.start if context.shard else 0, tf.zeros_like(context.rows)
    for kernel in context.kernels:
        width = kernel.shape[1]
        inside, within = columns_in_block(labels, start, width)
        in_block = tf.transpose(tf.gather(kernel, within, axis=1))
        weights = tf.where(inside[:, None], in_block, weights)
        start += width
    if context.shard is not None:
        weights = context.shard.sum(weights)
    return tf.stop_gradient(weights)
