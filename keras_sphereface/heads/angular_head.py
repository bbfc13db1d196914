"""`AngularHead`: the base of all heads with class weights."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras.initializers import Initializer
from keras.regularizers import Regularizer

from keras_sphereface.backend import Tensor, in_order, ops, value_of
from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.functional.norms import NORM_FLOOR, inverse_norms, l2_norm
from keras_sphereface.functional.scales import auto_scale
from keras_sphereface.heads import _class_weights
from keras_sphereface.heads._fused_softmax import target_and_negatives
from keras_sphereface.heads._reductions import LogSumExp, Reduction, highest_center
from keras_sphereface.heads.base import Head, Shape
from keras_sphereface.losses.context import HeadContext, HeadOutput
from keras_sphereface.losses.labels import checked_labels
from keras_sphereface.utils.validation import check_choice, check_integer, check_real, require

KERNEL_NORMS = ("through", "projected")
GRADIENTS = ("exact", "detached")
AUTO = "auto"

# With more classes a head uses blocks by default: the float32 logits of 256 samples would take
# more than 256 MiB.
MAX_CLASSES_WITHOUT_BLOCKS = 2**18
# Wide enough for fast products, small enough that a block is small beside the kernel. Not a
# multiple of 1024: rows at such distances fall on the same lines of the cache.
DEFAULT_BLOCK_SIZE = 255 * 64


class AngularHead(Head):
    """Embeddings (B, D) -> logits (B, C): scale times the cosine to each class weight.

    The base of the family. A subclass defines the target logit; the margin is applied in
    `head.loss`, which has the labels, so the layer needs none:

        model.add(head)
        model.compile("sgd", loss=head.loss, metrics=["accuracy"])

    The loss has first derivatives only; a gradient of its gradient is an error.

    The logits that the layer returns have no margin. Where nothing reads them, a compiled step
    (`fit`, any `tf.function`) does not compute them; `metrics=["accuracy"]` reads them.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        scale: Float > 0. Length given to every embedding; "auto": sqrt(2) ln(C - 1), the fixed
            scale of AdaCos (Zhang et al., CVPR 2019); None: each keeps its norm |x|.
        gradient: "exact", the derivative of the loss; or "detached", where the margin changes the
            value of the target only and its slope is that of the plain cosine.
        kernel_norm: "through": class weights of any length, of which only the direction counts,
            with the exact gradient. "projected": class weights are of unit length at the start
            and made so after each update, by a constraint, and the gradient ignores their norm;
            faster.
        block_size: Int >= 1. Classes in a block. With fewer than `num_classes` the kernel is held
            in blocks of that many classes, and the loss never holds (B, C) logits. None: one
            block up to `MAX_CLASSES_WITHOUT_BLOCKS` classes, else blocks of `DEFAULT_BLOCK_SIZE`.
        sample_rate: Float in (0, 1]. In training the loss looks at the batch's classes and at
            random others, this share of all in sum, but at least B + 1 of each block (Partial FC,
            An et al., 2021).
        seed: Int >= 0. Seed for class sampling.
        kernel_initializer: Initializer of the class weights (D, C), or of each block, with another
            seed; by default uniform with variance 1 / D, as in the reference implementation.
        kernel_regularizer: Regularizer of the class weights.
        dtype: float32 (the default, also under a mixed policy) or float64: half precision
            cannot count classes and costs the cosines three digits.
        **kwargs: `name` and `trainable`, as for any Keras layer.

    Raises:
        TypeError, ValueError: If an argument is out of range.

    Example:
        >>> head = AngularHead(num_classes=10, scale=16.0, block_size=4)
        >>> tuple(head(np.ones((2, 8), "float32")).shape), head.block_sizes()
        ((2, 10), [4, 4, 2])
    """

    gradients: tuple[str, ...] = GRADIENTS
    use_bias = False
    # The number of class weights of each class; with several, the nearest one counts.
    num_centers = 1

    def __init__(
        self,
        num_classes: int,
        scale: float | str | None = None,
        gradient: str = "exact",
        kernel_norm: str = "through",
        block_size: int | None = None,
        sample_rate: float = 1.0,
        seed: int = 0,
        kernel_initializer: str | Initializer = "lecun_uniform",
        kernel_regularizer: str | Regularizer | None = None,
        dtype: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_classes, dtype=dtype, **kwargs)
        self.scale = scale if scale is None else checked_scale(scale, self.num_classes)
        self.gradient = check_choice(gradient, "gradient", self.gradients)
        self.kernel_norm = check_choice(kernel_norm, "kernel_norm", KERNEL_NORMS)
        self.block_size = None if block_size is None else check_integer(block_size, "block_size", 1)
        self.sample_rate = check_real(sample_rate, "sample_rate", 1e-9, 1.0)
        self.seed = check_integer(seed, "seed", 0)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def max_classes_per_block(self, num_classes: int) -> int:
        """Return the largest number of `num_classes`, of the head or a shard, in one block."""
        if self.block_size is not None:
            return self.block_size
        if num_classes * self.num_centers <= MAX_CLASSES_WITHOUT_BLOCKS:
            return num_classes
        return DEFAULT_BLOCK_SIZE // self.num_centers

    def block_sizes(self) -> list[int]:
        size = self.max_classes_per_block(self.num_classes)
        return [min(size, self.num_classes - i) for i in range(0, self.num_classes, size)]

    def build(self, input_shape: Shape) -> None:
        sizes = self.block_sizes()
        names = ["kernel"] if len(sizes) == 1 else [f"kernel_{i}" for i in range(len(sizes))]
        self.kernels = [
            self.add_weight(
                name=name,
                shape=(input_shape[-1], size * self.num_centers),
                initializer=self.block_initializer(i),
                regularizer=self.kernel_regularizer,
                constraint=keras.constraints.UnitNorm(axis=0) if self.projected else None,
            )
            for i, (name, size) in enumerate(zip(names, sizes, strict=True))
        ]
        self.biases = [
            self.add_weight(name=name.replace("kernel", "bias"), shape=(size,), initializer="zeros")
            for name, size in zip(names, sizes, strict=True)
            if self.use_bias
        ]
        for i, weight in enumerate([*self.kernels, *self.biases]):
            # TensorFlow's checkpoints find attributes, but nothing in a list of Keras 3.
            setattr(self, f"_weight_{i}", weight)
        self.build_shared(input_shape)

    def block_initializer(self, block: int) -> Initializer:
        """Return the initializer of the class weights of a block."""
        initializer = self.kernel_initializer
        if len(self.block_sizes()) > 1:
            initializer = _class_weights.block_initializer(initializer, block)
        return _class_weights.unit_columns(initializer) if self.projected else initializer

    @property
    def normalize(self) -> bool:
        """True if only the direction of the class weights counts."""
        return True

    @property
    def projected(self) -> bool:
        """True if class weights are scaled to unit length after each update."""
        return self.normalize and self.kernel_norm == "projected"

    @property
    def through_norm(self) -> bool:
        """True if logits are divided by the norms of the class weights."""
        return self.normalize and self.kernel_norm == "through"

    @property
    def kernel(self) -> Any:
        """The class weights (D, C), or (D, K C): the variable itself, or a copy of all blocks."""
        if len(self.kernels) == 1:
            return self.kernels[0]
        return ops.concatenate([value_of(kernel) for kernel in self.kernels], axis=1)

    @property
    def uninformative_loss(self) -> float | None:
        """The loss if every embedding is 0, ln C; None if this loss does not mean a collapse."""
        return math.log(self.num_classes) if self.scale is None else None

    def context(
        self,
        embeddings: Tensor,
        step: Tensor | None = None,
        training: bool = False,
        kernels: Sequence[Tensor] | None = None,
        biases: Sequence[Tensor] | None = None,
        shard: ClassShard | None = None,
    ) -> HeadContext:
        """Return what the losses are computed from.

        Args:
            embeddings: (B, D). With a `shard` those of all replicas, in their order.
            step: Number of the training step; None: that of the head.
            training: Whether this is a training step.
            kernels, biases: Blocks of class weights in place of the head's own.
            shard: The classes that these are, where they are sharded over replicas.
        """
        embeddings, step = self.prepare(embeddings, step)
        if kernels is None:
            kernels = [value_of(weight) for weight in self.kernels]
            biases = [value_of(weight) for weight in self.biases]
        norms = l2_norm(embeddings)
        return HeadContext(
            embeddings=embeddings,
            norms=norms,
            rows=embeddings if self.scale is None else self._scaled(embeddings, norms),
            step=step,
            training=training,
            kernels=kernels,
            biases=biases or (),
            inverses=self._inverse_norms(kernels) if self.through_norm else (),
            shard=shard,
        )

    def outputs_of(self, context: HeadContext) -> tuple[Tensor, HeadContext]:
        products = [ops.matmul(context.rows, kernel) for kernel in context.kernels]
        if context.inverses:
            pairs = zip(products, context.inverses, strict=True)
            products = [product * inverse for product, inverse in pairs]
        logits = [highest_center(product, self.num_centers) for product in products]
        if context.biases:
            logits = [p + bias for p, bias in zip(logits, context.biases, strict=True)]
        if len(products) == 1:
            return logits[0], context._replace(products=products[0])
        return ops.concatenate(logits, axis=1), context

    def _inverse_norms(self, kernels: Sequence[Tensor]) -> list[Tensor]:
        """Return the inverse norms of the blocks, one by one: each takes as much memory as it."""
        inverses: list[Tensor] = []
        for kernel in kernels:
            with in_order(inverses[-1:]):
                inverses.append(inverse_norms(kernel))
        return inverses

    def _scaled(self, embeddings: Tensor, norms: Tensor) -> Tensor:
        """Return the embeddings at length `scale`; norms below `NORM_FLOOR` count as zero."""
        factor = ops.where(norms > NORM_FLOOR, self.scale / norms, ops.zeros_like(norms))
        return embeddings * factor

    def losses_of(self, context: HeadContext, labels: Tensor) -> HeadOutput:
        labels, valid = checked_labels(labels, self.num_classes, ops.shape(context.rows)[0])
        context = self.with_state(context, labels)
        reduction = self.negative_reduction(context)
        target, negatives, highest = target_and_negatives(
            context.rows,
            _class_weights.blocks_of(self, context, labels),
            reduction,
            products=None if _class_weights.is_sampled(self, context) else context.products,
            shard=context.shard,
        )
        losses = self.sample_losses(target, negatives, labels, context)
        losses = ops.where(valid, losses, float("nan") * ops.ones_like(losses))
        correct = reduction.transform(target[:, None])[:, 0] > highest
        return HeadOutput(losses, correct, self.target_cosines(target, labels, context))

    def with_state(self, context: HeadContext, labels: Tensor) -> HeadContext:
        """Return the context with the state of a head that has one, moved on in training."""
        del labels
        return context

    def negative_reduction(self, context: HeadContext) -> Reduction:
        """Return how the logits of the negative classes become one number a sample."""
        return LogSumExp()

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        """Return the loss of each sample, from its target logit and its negatives, (B,) each."""
        return ops.softplus(negatives - self.target_logits(target, labels, context))

    def target_logits(self, target: Tensor, labels: Tensor, context: HeadContext) -> Tensor:
        """Return the target logits with the margin: (B,) -> (B,)."""
        own = self.scale is None
        lengths = context.norms[:, 0] if own else self.scale * ops.ones_like(target)
        with_margin = lengths * self.target_cosine(target / lengths, context)
        if self.gradient == "exact":
            return with_margin
        return target + ops.stop_gradient(with_margin - target)

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        """Return what replaces cos(theta) of the target class: (B,) -> (B,)."""
        return cos_theta

    def target_cosines(self, target: Tensor, labels: Tensor, context: HeadContext) -> Tensor:
        """Return cos(theta) to the target class weight: (B,)."""
        if self.normalize:
            return target / l2_norm(context.rows)[:, 0]
        weights = _class_weights.target_weights(context, labels)
        products = ops.sum(context.embeddings * weights, axis=1)
        return products / (context.norms * l2_norm(weights))[:, 0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "gradient": self.gradient,
            "kernel_norm": self.kernel_norm,
            "block_size": self.block_size,
            "sample_rate": self.sample_rate,
            "seed": self.seed,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def checked_scale(scale: float | str, num_classes: int) -> float:
    """Return a scale as a number; "auto" is sqrt(2) ln(C - 1).

    Raises:
        TypeError, ValueError: If it is neither a number above 0 nor "auto", or "auto" with less
            than three classes.

    Example:
        >>> round(checked_scale("auto", num_classes=10_575), 2)
        13.1
    """
    if isinstance(scale, str):
        require(scale == AUTO, '`scale` must be a number above 0, or "auto".', scale=scale)
        return auto_scale(num_classes)
    return check_real(scale, "scale", 1e-6)
