"""`Head`: a last layer that brings its own loss, and counts the steps of its training."""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.losses.head_loss import HeadLoss, HeadOutput
from keras_sphereface.utils import validation
from keras_sphereface.utils.compat import add_replicated_weight, loss_dtype

HALF_DTYPES = ("float16", "bfloat16")


class Head(keras.layers.Layer):
    """What training asks of the layer on top of the embeddings, whatever its loss.

    A subclass says what it returns for embeddings (`call_at_step`, which leaves a
    `losses.HeadContext` on it) and what it makes of that with labels (`compute_losses`).

    Args:
        num_classes: C, an int >= 2.
        dtype: float32 (the default, also under a mixed policy) or float64.

    Raises:
        TypeError, ValueError: if an argument is out of range.
    """

    # Whether the loss, or what a step changes beside gradients, needs the global batch at once.
    needs_global_batch = False
    # Arrays like the class weights that are held beside them, as the optimizer's slots are.
    extra_slots = 0
    # How the loss of embeddings that say nothing is called, and what it means when it stays.
    collapse_message = (
        "ln C",
        "the logits say nothing of the classes, most often since |x| shrank to 0",
    )

    def __init__(self, num_classes: int, dtype=None, **kwargs):
        if dtype is None and keras.mixed_precision.global_policy().compute_dtype in HALF_DTYPES:
            dtype = "float32"
        super().__init__(dtype=dtype, **kwargs)
        if self.compute_dtype not in ("float32", "float64"):
            raise ValueError(f"`dtype` must be float32 or float64. Received: dtype={dtype!r}")
        self.num_classes = validation.check_integer(num_classes, "num_classes", 2)
        self.input_spec = keras.layers.InputSpec(ndim=2)

    def build(self, input_shape):
        self.build_shared(input_shape)

    def build_shared(self, input_shape) -> None:
        """Make the weights that are whole on every device; `build` does it after the others."""
        self.step = add_replicated_weight(self, name="step")
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        self.built = True

    def block_sizes(self) -> list[int]:
        """The number of classes in each block of class weights; empty where there are none."""
        return []

    @property
    def loss(self) -> HeadLoss:
        """The loss that belongs to this layer."""
        return HeadLoss(**loss_dtype(self.compute_dtype))

    @property
    def uninformative_loss(self) -> float | None:
        """The loss of embeddings that say nothing; None where no number is a mark of failure."""
        return None

    @property
    def annealing_lambda(self) -> tf.Tensor:
        """lambda after the steps counted so far; 0 where there is no annealing."""
        return tf.constant(0.0)

    def call(self, embeddings, training=False):
        if training:
            # The first step is number 1, as in the authors' code.
            self.step.assign_add(1)
        return self.call_at_step(embeddings, tf.convert_to_tensor(self.step), bool(training))

    def call_at_step(self, embeddings: tf.Tensor, step: tf.Tensor, training: bool) -> tf.Tensor:
        """What `call` returns at a step of the annealing, without counting one more."""
        raise NotImplementedError

    def compute_losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> HeadOutput:
        """Losses, right answers and target cosines of a batch.

        Args:
            labels: (B,) or (B, 1), whole numbers in [0, C).
            outputs: the tensor that this layer returned for the batch.

        Returns:
            One value a sample of each. A label out of range stops the program with an
            InvalidArgumentError, or, where assertions do not run (XLA), makes its loss nan.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}
