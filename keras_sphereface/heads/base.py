"""`Head`: a last layer that brings its own loss, and counts the steps of its training."""

from typing import Any

import keras

from keras_sphereface.backend import Tensor, alias, ops, refuse_gradient, value_of
from keras_sphereface.losses.calls import HeadCall, remember
from keras_sphereface.losses.context import HeadContext, HeadOutput
from keras_sphereface.losses.head_loss import HeadLoss
from keras_sphereface.utils.compat import add_replicated_weight, loss_dtype
from keras_sphereface.utils.validation import check_integer

HALF_DTYPES = ("float16", "bfloat16")
# Arguments as files that were saved before their renaming hold them, and as they are now.
RENAMED = {"chunk_size": "block_size", "warm_start": "margin_warmup_steps"}

Shape = tuple[int | None, ...]

OTHER_LOSS = (
    "What {0} adds to a softmax is in `head.loss`, and another loss is trained here, or a layer "
    "behind the head changes its logits. Compile the model with `loss=head.loss` and the head as "
    "its last layer, or use `EmbeddingClassifier`. To train without the margin on purpose, make "
    "the head with `margin_required=False`."
)
NOT_TRAINING = (
    "A loss of a head was differentiated that was computed with training=False, so that neither "
    "the step nor lambda would change. Pass `training` on: `def call(self, x, training=None): "
    "return self.head(self.network(x), training=training)`; or `training=True` to "
    "`compute_losses`."
)


class Head(keras.layers.Layer):
    """Base of all layers on top of the embeddings that bring their own loss.

    `compute_losses` is the whole of it: embeddings and labels in, losses with the margin out.
    Called as a layer a head returns logits without the margin, and `head.loss` finds the embeddings
    by these, so that it can end a plain Keras model. A training step is one call, of either, with
    `training=True`; the weight `step` counts them.

    A subclass defines what it computes of embeddings (`context`), what of that the layer returns
    (`outputs_of`), and the losses by labels (`losses_of`).

    Args:
        num_classes: Int >= 2. C, the number of classes.
        margin_required: Bool. Whether training by another loss than `head.loss`, which would be
            without the margin, is an error.
        dtype: float32 (the default, also under a mixed policy) or float64.
        **kwargs: `name` and `trainable`, as for any Keras layer.

    Raises:
        TypeError, ValueError: If an argument is out of range.

    Example:
        >>> from keras_sphereface.heads import make_head
        >>> head = make_head("cosface", num_classes=3)
        >>> isinstance(head, Head), head.loss.name
        (True, 'head_loss')
    """

    # False if a cross-entropy of what the layer returns is the loss of the head.
    has_margin = True
    # True if the loss, or another update of a step, needs the global batch at once.
    needs_global_batch = False
    # Number of arrays of the size of the class weights held beside them, like optimizer slots.
    extra_slots = 0
    # The name of the uninformative loss, and what it means when the loss stays there.
    collapse_message = (
        "ln C",
        "the logits do not separate the classes, most often because |x| shrank to 0",
    )

    def __init__(
        self,
        num_classes: int,
        margin_required: bool = True,
        dtype: str | None = None,
        **kwargs: Any,
    ):
        if dtype is None and keras.mixed_precision.global_policy().compute_dtype in HALF_DTYPES:
            dtype = "float32"
        super().__init__(dtype=dtype, **kwargs)
        if self.compute_dtype not in ("float32", "float64"):
            raise ValueError(f"`dtype` must be float32 or float64. Received: dtype={dtype!r}")
        self.num_classes = check_integer(num_classes, "num_classes", 2)
        self.margin_required = bool(margin_required)

    def build(self, input_shape: Shape) -> None:
        self.build_shared(input_shape)

    def build_shared(self, input_shape: Shape) -> None:
        """Make the weights that are whole on every device; `build` does it after the others."""
        self.step = add_replicated_weight(self, name="step")
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.built = True

    def block_sizes(self) -> list[int]:
        """Return the number of classes of each block of class weights; empty without any."""
        return []

    @property
    def loss(self) -> HeadLoss:
        """The loss that belongs to this layer."""
        return HeadLoss(**loss_dtype(self.compute_dtype))

    @property
    def uninformative_loss(self) -> float | None:
        """The loss if every embedding is 0; None if no loss value means a collapse."""
        return None

    @property
    def annealing_lambda(self) -> Tensor:
        """lambda after the steps counted so far; 0 where there is no annealing."""
        return ops.zeros(())

    @property
    def last_step(self) -> Tensor:
        """The number of training steps counted so far; that of the present one within it."""
        return value_of(self.step)

    def __call__(self, embeddings: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # Before Keras makes the weights for whatever the last axis is.
        check_embedding_shape(embeddings, type(self).__name__)
        return super().__call__(embeddings, *args, **kwargs)

    def call(self, embeddings: Tensor, training: bool = False) -> Tensor:
        training = bool(training)
        if training:
            # The first step is number 1, as in the reference implementation.
            self.step.assign(self.step + 1)
        outputs, context = self.outputs_of(self.context(embeddings, None, training))
        if training and self.has_margin and self.margin_required:
            outputs = refuse_gradient(outputs, ValueError(OTHER_LOSS.format(type(self).__name__)))
        else:
            # A tensor of its own, by which the loss finds this call.
            outputs = alias(outputs)
        remember(outputs, HeadCall(self, context))
        return outputs

    def compute_losses(
        self,
        embeddings: Tensor,
        labels: Tensor,
        training: bool = False,
        step: Tensor | None = None,
    ) -> HeadOutput:
        """Return losses, correct predictions and target cosines of a batch.

        Args:
            embeddings: (B, D) of any float dtype.
            labels: (B,) or (B, 1), whole numbers in [0, C).
            training: Bool. Whether this is a training step. Losses to be differentiated need it,
                or a `step`.
            step: Integer scalar, the number of the training step; the first is 1. The losses are
                then a pure function of the arguments and the weights. None: the head counts, one
                more with `training=True`.

        Returns:
            One value a sample of each. A label out of range is an error; where a compiled program
            cannot be stopped (XLA, JAX), its loss is nan.
        """
        check_embedding_shape(embeddings, type(self).__name__)
        if not self.built:
            self.build((None, embeddings.shape[-1]))
        if training and step is None:
            self.step.assign(self.step + 1)
        context = self.context(embeddings, step, training)
        output = self.losses_of(context, labels)
        return output if training or step is not None else _without_gradient(output)

    def losses_of_call(self, call: HeadCall, labels: Tensor) -> HeadOutput:
        """Return `compute_losses` for what this layer was called with."""
        output = self.losses_of(call.context, labels)
        return output if call.context.training else _without_gradient(output)

    def prepare(self, embeddings: Tensor, step: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return embeddings in the dtype of the head, and the step, that of the head if None."""
        embeddings = ops.cast(ops.convert_to_tensor(embeddings), self.compute_dtype)
        return embeddings, self.last_step if step is None else ops.convert_to_tensor(step)

    def context(
        self, embeddings: Tensor, step: Tensor | None = None, training: bool = False
    ) -> HeadContext:
        """Return what the losses are computed from, (B, D) embeddings in any dtype."""
        raise NotImplementedError

    def outputs_of(self, context: HeadContext) -> tuple[Tensor, HeadContext]:
        """Return what the layer returns, and the context with what was computed for it."""
        raise NotImplementedError

    def losses_of(self, context: HeadContext, labels: Tensor) -> HeadOutput:
        """Return losses, correct predictions and target cosines of a batch."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "margin_required": self.margin_required,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Head":
        return super().from_config({RENAMED.get(name, name): config[name] for name in config})


def check_embedding_shape(embeddings: Any, name: str) -> None:
    """Raise a ValueError if the static shape of a tensor is known, and not (batch, D).

    Args:
        embeddings: A tensor or array; anything without a shape is left to Keras.
        name: Class of the head, for the message.
    """
    shape = getattr(embeddings, "shape", None)
    if shape is None:
        return
    rank = shape.rank if hasattr(shape, "rank") else len(shape)  # None: a TensorShape unknown
    if rank in (None, 2):
        return
    advice = ""
    if rank > 2:
        advice = (
            "A feature map becomes an embedding by Flatten() or GlobalAveragePooling2D(), and "
            "Dense(D) without an activation, between the network and the head. "
        )
    raise ValueError(
        f"{name} needs embeddings of shape (batch, D), one vector for each image. {advice}"
        f"Received: shape {tuple(shape)}"
    )


def _without_gradient(output: HeadOutput) -> HeadOutput:
    return output._replace(losses=refuse_gradient(output.losses, ValueError(NOT_TRAINING)))
