"""`Head`: a last layer that brings its own loss, and counts the steps of its training."""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.losses.context import HeadOutput
from keras_sphereface.losses.head_loss import HeadLoss
from keras_sphereface.utils.compat import add_replicated_weight, loss_dtype
from keras_sphereface.utils.validation import check_integer

HALF_DTYPES = ("float16", "bfloat16")
# Arguments as files that were saved before their renaming hold them, and as they are now.
RENAMED = {"chunk_size": "block_size", "warm_start": "margin_warmup_steps"}

Shape = tuple[int | None, ...]


class Head(keras.layers.Layer):
    """Base of all layers on top of the embeddings that bring their own loss.

    A subclass defines what it returns for embeddings (`call_at_step`, which attaches a
    `losses.HeadContext`) and what it makes of that with labels (`compute_losses`).

    Args:
        num_classes: Int >= 2. C, the number of classes.
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

    # True if the loss, or another update of a step, needs the global batch at once.
    needs_global_batch = False
    # Number of arrays of the size of the class weights held beside them, like optimizer slots.
    extra_slots = 0
    # The name of the uninformative loss, and what it means when the loss stays there.
    collapse_message = (
        "ln C",
        "the logits do not separate the classes, most often because |x| shrank to 0",
    )

    def __init__(self, num_classes: int, dtype: str | None = None, **kwargs: Any):
        if dtype is None and keras.mixed_precision.global_policy().compute_dtype in HALF_DTYPES:
            dtype = "float32"
        super().__init__(dtype=dtype, **kwargs)
        if self.compute_dtype not in ("float32", "float64"):
            raise ValueError(f"`dtype` must be float32 or float64. Received: dtype={dtype!r}")
        self.num_classes = check_integer(num_classes, "num_classes", 2)
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, input_shape: Shape) -> None:
        self.build_shared(input_shape)

    def build_shared(self, input_shape: Shape) -> None:
        """Make the weights that are whole on every device; `build` does it after the others."""
        self.step = add_replicated_weight(self, name="step")
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
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
    def annealing_lambda(self) -> tf.Tensor:
        """lambda after the steps counted so far; 0 where there is no annealing."""
        return tf.constant(0.0)

    def call(self, embeddings: tf.Tensor, training: bool | tf.Tensor = False) -> tf.Tensor:
        if training:
            # The first step is number 1, as in the reference implementation.
            self.step.assign_add(1)
        return self.call_at_step(embeddings, tf.convert_to_tensor(self.step), bool(training))

    def call_at_step(self, embeddings: tf.Tensor, step: tf.Tensor, training: bool) -> tf.Tensor:
        """Return what `call` returns at a step of the annealing, without counting one more."""
        raise NotImplementedError

    def compute_losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> HeadOutput:
        """Return losses, correct predictions and target cosines of a batch.

        Args:
            labels: (B,) or (B, 1), whole numbers in [0, C).
            outputs: The tensor that this layer returned for the batch.

        Returns:
            One value a sample of each. A label out of range stops the program with an
            InvalidArgumentError, or, where assertions do not run (XLA), makes its loss nan.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Head":
        return super().from_config({RENAMED.get(name, name): config[name] for name in config})
