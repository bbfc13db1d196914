"""`AngularHead`: what all classification layers of the family share."""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.functional.norms import NORM_FLOOR, inverse_norms, l2_norm
from keras_sphereface.heads import _logits
from keras_sphereface.heads.base import Head
from keras_sphereface.losses.head_loss import (
    HeadContext,
    HeadOutput,
    checked_labels,
    context_of,
    leave_context,
)
from keras_sphereface.utils import validation
from keras_sphereface.utils.validation import check_choice

KERNEL_NORMS = ("through", "projected")
GRADIENTS = ("exact", "detached")

# More classes than this, and a head works in blocks unless told otherwise: the float32 logits of
# 256 samples would take more than 256 MiB.
MAX_CLASSES_WITHOUT_BLOCKS = 2**18
# Wide enough for fast products, small enough that a block is nothing beside the kernel. Not a
# multiple of 1024: rows at such distances fall on the same lines of the cache.
DEFAULT_BLOCK_SIZE = 255 * 64


class AngularHead(Head):
    """Embeddings (B, D) -> logits (B, C): scale times the cosine to each class weight.

    The base of the family. A subclass says how a target differs from the other classes; the
    margin enters in `head.loss`, which knows the labels, so the layer needs none:

        model.add(head)
        model.compile("sgd", loss=head.loss, metrics=["accuracy"])

    The loss has first derivatives only; a gradient of its gradient is an error.

    The logits that the layer returns have no margin. Where nothing reads them, a compiled step
    (`fit`, any `tf.function`) does not compute them; `metrics=["accuracy"]` reads them.

    Args:
        num_classes: C, an int >= 2.
        scale: the length given to every embedding, > 0; None: each keeps its own, |x|.
        gradient: "exact", the derivative of the loss; or "detached", where the margin changes the
            value of the target only and its slope is that of the plain cosine.
        kernel_norm: "through": class weights of any length, of which only the direction counts,
            with the exact gradient. "projected": class weights are of unit length at the start
            and made so after each update, by a constraint, and the gradient ignores their norm;
            faster.
        block_size: classes worked on at once. With fewer than `num_classes` the kernel is held
            in blocks of that many classes, and the loss never holds (B, C) logits. None: all at
            once up to `MAX_CLASSES_WITHOUT_BLOCKS` classes, else blocks of `DEFAULT_BLOCK_SIZE`.
        sample_rate: in (0, 1]; in training the loss looks at the batch's own classes and at
            random others, this share of all in sum, but at least B + 1 of each block (Partial FC;
            see `logits.sample_classes`).
        seed: of the sampling, an int.
        kernel_initializer: of the class weights (D, C), or of each block, with another seed; by
            default uniform with variance 1 / D, as in the authors' code.
        kernel_regularizer: of the class weights.
        dtype: float32 (the default, also under a mixed policy) or float64: half precision
            cannot count classes and costs the cosines three digits.

    Raises:
        TypeError, ValueError: if an argument is out of range.
    """

    gradients: tuple[str, ...] = GRADIENTS
    use_bias = False

    def __init__(
        self,
        num_classes: int,
        scale: float | None = None,
        gradient: str = "exact",
        kernel_norm: str = "through",
        block_size: int | None = None,
        sample_rate: float = 1.0,
        seed: int = 0,
        kernel_initializer="lecun_uniform",
        kernel_regularizer=None,
        dtype=None,
        **kwargs,
    ):
        super().__init__(num_classes, dtype=dtype, **kwargs)
        self.scale = scale if scale is None else validation.check_real(scale, "scale", 1e-6)
        self.gradient = check_choice(gradient, "gradient", self.gradients)
        self.kernel_norm = check_choice(kernel_norm, "kernel_norm", KERNEL_NORMS)
        self.block_size = (
            None if block_size is None else validation.check_integer(block_size, "block_size", 1)
        )
        self.sample_rate = validation.check_real(sample_rate, "sample_rate", 1e-9, 1.0)
        self.seed = validation.check_integer(seed, "seed", 0)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def max_classes_per_block(self, num_classes: int) -> int:
        """How many of `num_classes` classes, all or those of a part, a block holds at most."""
        if self.block_size is not None:
            return self.block_size
        return num_classes if num_classes <= MAX_CLASSES_WITHOUT_BLOCKS else DEFAULT_BLOCK_SIZE

    def block_sizes(self) -> list[int]:
        size = self.max_classes_per_block(self.num_classes)
        return [min(size, self.num_classes - i) for i in range(0, self.num_classes, size)]

    def build(self, input_shape):
        sizes = self.block_sizes()
        names = ["kernel"] if len(sizes) == 1 else [f"kernel_{i}" for i in range(len(sizes))]
        self.kernels = [
            self.add_weight(
                name=name,
                shape=(input_shape[-1], size),
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

    def block_initializer(self, i: int):
        """That of block i: one initializer would give every block the same start weights."""
        initializer = self.kernel_initializer
        if len(self.block_sizes()) > 1:
            has_config = hasattr(initializer, "get_config")
            config: dict[str, Any] = initializer.get_config() if has_config else {"seed": ""}
            if not isinstance(config.get("seed", 0), int | None):
                raise ValueError(
                    "With several blocks, `kernel_initializer` must be an initializer with a "
                    f"`get_config` and a seed that is an int or None. Received: {initializer!r}"
                )
            if isinstance(config.get("seed"), int):
                config["seed"] += i
            initializer = type(initializer).from_config(config)
        if not self.projected:
            return initializer

        def unit_columns(shape, dtype=None, **kwargs):
            kernel = initializer(shape, dtype=dtype, **kwargs)
            return kernel * inverse_norms(kernel)

        return unit_columns

    @property
    def normalize(self) -> bool:
        """Whether the class weights count by their direction only."""
        return True

    @property
    def projected(self) -> bool:
        """Whether class weights are made of unit length after each update."""
        return self.normalize and self.kernel_norm == "projected"

    @property
    def through_norm(self) -> bool:
        """Whether logits are divided by the norms of the class weights."""
        return self.normalize and self.kernel_norm == "through"

    @property
    def kernel(self):
        """The class weights (D, C): the variable itself, or a copy of all blocks."""
        if len(self.kernels) == 1:
            return self.kernels[0]
        return tf.concat([tf.convert_to_tensor(kernel) for kernel in self.kernels], axis=1)

    @property
    def uninformative_loss(self) -> float | None:
        """The loss where every embedding is 0, ln C; None where that is no mark of failure."""
        return math.log(self.num_classes) if self.scale is None else None

    def call_at_step(self, embeddings: tf.Tensor, step: tf.Tensor, training: bool) -> tf.Tensor:
        kernels, biases = (
            [tf.convert_to_tensor(weight) for weight in weights]
            for weights in (self.kernels, self.biases)
        )
        return self.forward(embeddings, kernels, biases, step, training)

    def forward(
        self,
        embeddings: tf.Tensor,
        kernels: list[tf.Tensor],
        biases: list[tf.Tensor],
        step: tf.Tensor,
        training: bool,
        part: ClassShard | None = None,
    ) -> tf.Tensor:
        """What `call` does, as a function of tensors: blocks of weights in, logits (B, C) out.

        With a `part` the blocks are its classes, the embeddings those of all replicas, gathered
        in their order, and the logits are (B, C_part).
        """
        norms = l2_norm(embeddings)
        rows = embeddings if self.scale is None else self._scaled(embeddings, norms)
        products = [tf.matmul(rows, kernel) for kernel in kernels]
        inverses = self._inverse_norms(kernels) if self.through_norm else []
        if inverses:
            products = [p * inverse for p, inverse in zip(products, inverses, strict=True)]
        blocks = (
            [product + bias for product, bias in zip(products, biases, strict=True)]
            if biases
            else products
        )
        context = HeadContext(
            head=self,
            embeddings=embeddings,
            norms=norms,
            rows=rows,
            kernels=kernels,
            biases=biases,
            inverses=[tf.stop_gradient(inverse) for inverse in inverses],
            products=products[0] if len(products) == 1 else None,
            step=step,
            training=training,
            part=part,
        )
        outputs = blocks[0] if len(blocks) == 1 else tf.concat(blocks, axis=1)
        # A tensor of its own: one that held itself, through the context, would never be freed.
        return leave_context(tf.identity(outputs), context)

    def _inverse_norms(self, kernels):
        """Those of all blocks; one after another, since each takes as much memory as its block."""
        inverses = []
        for kernel in kernels:
            with tf.control_dependencies(inverses[-1:]):
                inverses.append(inverse_norms(kernel))
        return inverses

    def _scaled(self, embeddings, norms):
        """The embeddings at length `scale`; one below the floor of the norm counts as zero."""
        factor = tf.where(norms > NORM_FLOOR, self.scale / norms, tf.zeros_like(norms))
        return embeddings * factor

    def compute_losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> HeadOutput:
        context = context_of(outputs)
        labels, valid = checked_labels(labels, self.num_classes, tf.shape(outputs)[0])
        rest = self.rest(context)
        own, total, highest = _logits.target_and_rest_logits(
            context.rows,
            self._blocks(labels, context),
            rest,
            products=None if self._sampled(context) else context.products,
            part=context.part,
        )
        losses = self.sample_losses(own, total, labels, context)
        losses = tf.where(valid, losses, tf.constant(float("nan"), losses.dtype))
        correct = rest.transform(own[:, None])[:, 0] > highest
        return HeadOutput(losses, correct, self.target_cosines(own, labels, context))

    def rest(self, context: HeadContext) -> _logits.LogSumExp | _logits.SumOver:
        """How the logits of the other classes become one number a sample."""
        return _logits.LogSumExp()

    def sample_losses(self, own, rest, labels, context: HeadContext) -> tf.Tensor:
        """The loss of each sample, from its own logit and its rest: (B,), (B,) -> (B,)."""
        return tf.nn.softplus(rest - self.target_logits(own, labels, context))

    def target_logits(self, own, labels, context: HeadContext) -> tf.Tensor:
        """The own logit with the margin: (B,) -> (B,)."""
        if self.scale is None:
            lengths = context.norms[:, 0]
        else:
            lengths = tf.fill(tf.shape(own), tf.constant(self.scale, own.dtype))
        target = lengths * self.target_cosine(own / lengths, context)
        return target if self.gradient == "exact" else own + tf.stop_gradient(target - own)

    def target_cosine(self, cos_theta, context: HeadContext) -> tf.Tensor:
        """What stands in the place of cos(theta) for the own class: (B,) -> (B,)."""
        return cos_theta

    def target_cosines(self, own, labels, context: HeadContext) -> tf.Tensor:
        """cos(theta) to the own class weight: (B,)."""
        if self.normalize:
            return own / l2_norm(context.rows)[:, 0]
        weights = own_columns(context, labels)
        products = tf.reduce_sum(context.embeddings * weights, axis=1)
        return products / (context.norms * l2_norm(weights))[:, 0]

    def _sampled(self, context):
        return context.training and self.sample_rate < 1.0

    def _blocks(self, labels, context):
        kernels, none = context.kernels, [None] * len(context.kernels)
        parts = zip(kernels, context.biases or none, context.inverses or none, strict=True)
        start, first, replicas = 0, 0, 1
        if context.part is not None:
            start, replicas = context.part.start, context.part.replicas
            first = context.part.replica * len(kernels)
        blocks = []
        for i, (kernel, bias, inverse) in enumerate(parts):
            if self._sampled(context):
                step = tf.cast(context.step % 2**20, tf.int32)
                seed = tf.stack([self.seed, step * (len(kernels) * replicas) + first + i])
                block, _ = _logits.sample_classes(
                    kernel, labels, start, self.sample_rate, seed, bias, self.through_norm
                )
                blocks.append(block)
            else:
                inside_all = len(kernels) == replicas == 1
                own = _logits.target_class(labels, start, kernel.shape[1], inside_all)
                blocks.append(_logits.Block(kernel, own, bias, inverse=inverse))
            start += kernel.shape[1]
        return blocks

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def get_config(self):
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


def own_columns(context: HeadContext, labels: tf.Tensor) -> tf.Tensor:
    """The class weight of each sample's own class, (B, D), without a gradient."""
    start, columns = context.part.start if context.part else 0, tf.zeros_like(context.rows)
    for kernel in context.kernels:
        width = kernel.shape[1]
        inside, within = _logits.within_block(labels, start, width)
        here = tf.transpose(tf.gather(kernel, within, axis=1))
        columns = tf.where(inside[:, None], here, columns)
        start += width
    if context.part is not None:
        columns = context.part.sum(columns)
    return tf.stop_gradient(columns)
