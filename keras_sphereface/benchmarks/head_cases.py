"""The heads that are timed, and one training step of each."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads.angular_head import DEFAULT_BLOCK_SIZE
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.registry import make_head

DENSE = "Dense + cross-entropy"  # the baseline
ASOFTMAX = "A-Softmax"
PROJECTED = "A-Softmax, unit kernel"
BLOCKS = "A-Softmax, in blocks"
UNIT_BLOCKS = "A-Softmax, unit kernel, in blocks"
SAMPLED = "A-Softmax, 10 % of the classes"
ONE_BLOCK, SMALL_BLOCKS = "one block", "small blocks"

Losses = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class HeadCase:
    """A head with settings.

    Attributes:
        head: One of `HEADS`.
        blocks: `ONE_BLOCK`, `SMALL_BLOCKS` (at least four), or "" for the default of the head.
        settings: Further arguments of the head.
    """

    head: str
    blocks: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


HEAD_CASES: dict[str, HeadCase] = {
    ASOFTMAX: HeadCase("asoftmax", ONE_BLOCK),
    PROJECTED: HeadCase("asoftmax", ONE_BLOCK, {"kernel_norm": "projected"}),
    BLOCKS: HeadCase("asoftmax", SMALL_BLOCKS),
    UNIT_BLOCKS: HeadCase("asoftmax", SMALL_BLOCKS, {"kernel_norm": "projected"}),
    SAMPLED: HeadCase("asoftmax", ONE_BLOCK, {"sample_rate": 0.1}),
    "A-Softmax, caffe gradient": HeadCase("asoftmax", settings={"gradient": "caffe"}),
    "A-Softmax, detached gradient": HeadCase("asoftmax", settings={"gradient": "detached"}),
    **{
        name: HeadCase(name)
        for name, choice in HEADS.items()
        if choice.has_class_weights and name != "asoftmax"
    },
}
CASES = (DENSE, *HEAD_CASES)


@dataclasses.dataclass(frozen=True)
class StepShape:
    """Sizes of a training step: embeddings (B, D), class weights (D, C).

    Attributes:
        batch_size: B.
        embedding_size: D.
        num_classes: C.
    """

    batch_size: int
    embedding_size: int
    num_classes: int


def make_case_head(case: str, num_classes: int) -> Head:
    """Return the head of one of `HEAD_CASES`, not built yet.

    Example:
        >>> make_case_head(BLOCKS, 10).block_sizes()
        [3, 3, 3, 1]
    """
    chosen = HEAD_CASES[case]
    # At least four blocks, so that small kernels show what blocks cost too.
    small = min(DEFAULT_BLOCK_SIZE, -(-num_classes // 4))
    block_size = {ONE_BLOCK: num_classes, SMALL_BLOCKS: small}.get(chosen.blocks)
    return make_head(chosen.head, num_classes, block_size=block_size, **chosen.settings)


def dense_losses(embeddings: tf.Tensor, kernel: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the losses of the baseline: (B, D), (D, C), (B,) -> (B,)."""
    logits = tf.matmul(embeddings, kernel)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def make_step(
    case: str, shape: StepShape, initializer: str = "lecun_uniform"
) -> tf.types.experimental.GenericFunction:
    """Return a compiled training step of one of `CASES`.

    Args:
        case: String. One of `CASES`.
        shape: Sizes of the step.
        initializer: String. Keras initializer of the class weights.

    Returns:
        A function of embeddings (B, D) and labels (B,) that returns the loss and its gradients
        by the embeddings and by each weight.
    """
    losses, variables = (_dense if case == DENSE else _head)(case, shape, initializer)

    @tf.function
    def step(embeddings: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = tf.reduce_mean(losses(embeddings, labels))
        return loss, tape.gradient(loss, [embeddings, *variables])

    return step


def _dense(case: str, shape: StepShape, initializer: str) -> tuple[Losses, list[Any]]:
    sizes = (shape.embedding_size, shape.num_classes)
    kernel = tf.Variable(keras.initializers.get(initializer)(sizes, "float32"))
    return lambda embeddings, labels: dense_losses(embeddings, kernel, labels), [kernel]


def _head(case: str, shape: StepShape, initializer: str) -> tuple[Losses, list[Any]]:
    head = make_case_head(case, shape.num_classes)
    head.kernel_initializer = keras.initializers.get(initializer)
    head.build((None, shape.embedding_size))

    def losses(embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return head.loss.call(labels, head(embeddings, training=True))

    return losses, head.trainable_variables


def draw_batch(shape: StepShape, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw normal embeddings (B, D), float32, and uniform labels (B,), int32."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((shape.batch_size, shape.embedding_size))
    labels = rng.integers(0, shape.num_classes, shape.batch_size)
    return tf.constant(embeddings, tf.float32), tf.constant(labels, tf.int32)
