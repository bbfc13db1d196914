"""`HeadLoss`, the loss of any head, and `ASoftmaxLoss`, which checks the margin."""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.losses.context import NO_CONTEXT, context_of, has_context
from keras_sphereface.utils import validation
from keras_sphereface.utils.compat import loss_config


def _only_traced(outputs: tf.Tensor) -> bool:
    """Return whether outputs without a context are met in tracing, perhaps never to be run."""
    return not tf.executing_eagerly() and not has_context(outputs)


def _failing_values(outputs: tf.Tensor) -> tf.Tensor:
    """(B,) values that are an error when they are computed, and nan in XLA.

    They depend on the outputs, or an optimizer would complain of absent gradients first.

    Under a strategy Keras 3 traces losses and metrics once with a placeholder tensor, and never
    runs that.
    """
    assertion = tf.debugging.Assert(False, [NO_CONTEXT, "Received:", outputs])
    with tf.control_dependencies([assertion]):
        rows = tf.reshape(outputs, [tf.shape(outputs)[0], -1])
        return float("nan") * tf.reduce_sum(rows, axis=1)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class HeadLoss(keras.losses.Loss):
    """The loss of the head whose outputs it is given; best taken from it as `head.loss`.

    It holds no settings: margin, scale and lambda are the head's, and continue wherever the
    head's weights are restored. `y_true` are labels (B,) or (B, 1), whole numbers in [0, C);
    `y_pred` is the tensor that the head returned.

    Args:
        name: String. Name of the loss.
        **kwargs: As for `keras.losses.Loss`, for example `reduction`.

    Example:
        >>> from keras_sphereface.heads import CosFace
        >>> head = CosFace(num_classes=3)
        >>> logits = head(tf.ones((2, 4)))
        >>> HeadLoss()([0, 2], logits).shape
        TensorShape([])
    """

    def __init__(self, name: str = "head_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        if _only_traced(y_pred):
            return _failing_values(y_pred)
        head = context_of(y_pred).head
        self.check(head)
        return head.compute_losses(y_true, y_pred).losses

    def check(self, head: keras.layers.Layer) -> None:
        """Raise a ValueError for a head that this loss is not for."""
        del head

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **loss_config(self)}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ASoftmaxLoss(HeadLoss):
    """The loss that belongs to an `ASoftmax` head; best taken from it as `head.loss`.

    Args:
        m: Int >= 1. Margin of the head; another m than the head's is an error.
        name: String. Name of the loss.
        **kwargs: As for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: If `m` is not an int >= 1.

    Example:
        >>> from keras_sphereface.heads import ASoftmax
        >>> head = ASoftmax(num_classes=3, m=2)
        >>> ASoftmaxLoss(m=4)([0, 2], head(tf.ones((2, 4))))
        Traceback (most recent call last):
            ...
        ValueError: The loss must have the m of its head; use `loss=head.loss`. ...
    """

    def __init__(self, m: int = 4, name: str = "asoftmax_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.m = validation.check_integer(m, "m", 1)

    def check(self, head: keras.layers.Layer) -> None:
        head_m = getattr(head, "m", None)
        if head_m != self.m:
            raise ValueError(
                "The loss must have the m of its head; use `loss=head.loss`. "
                f"Received: m={self.m} in the loss, and in the head m={head_m}"
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m}


@keras.saving.register_keras_serializable(package="keras_sphereface")
def embedding_norm(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Return |x| of each sample, (B,): a metric of a float32 head.

    Example:
        >>> from keras_sphereface.heads import ASoftmax
        >>> logits = ASoftmax(num_classes=3)(tf.constant([[3.0, 4.0]]))
        >>> embedding_norm([0], logits).numpy().tolist()
        [5.0]
    """
    del y_true
    if _only_traced(y_pred):
        return _failing_values(y_pred)
    return context_of(y_pred).norms[:, 0]
