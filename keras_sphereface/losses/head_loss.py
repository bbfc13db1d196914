"""`HeadLoss`, the loss of any head, and `ASoftmaxLoss`, which checks the margin."""

from typing import Any

import keras

from keras_sphereface.backend import Tensor, never, ops
from keras_sphereface.losses.calls import call_of
from keras_sphereface.utils import validation
from keras_sphereface.utils.compat import loss_config

NO_CALL = (
    "The loss of a head must be given the very tensor that the head returned: make the head the "
    "last layer of the model, with nothing behind it, and call both in the same function."
)


def _failing_values(outputs: Tensor) -> Tensor:
    """(B,) values that are an error when they are computed or differentiated.

    Keras 3 traces losses and metrics once with placeholders, whose values it never computes.
    """
    rows = ops.reshape(outputs, [ops.shape(outputs)[0], -1])
    return never(float("nan") * ops.sum(rows, axis=1), NO_CALL, outputs)


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
        >>> logits = head(np.ones((2, 4), "float32"))
        >>> tuple(HeadLoss()([0, 2], logits).shape)
        ()
    """

    def __init__(self, name: str = "head_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        call = call_of(y_pred)
        if call is None:
            return _failing_values(y_pred)
        self.check(call.head)
        return call.head.losses_of_call(call, y_true).losses

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
        >>> ASoftmaxLoss(m=4)([0, 2], head(np.ones((2, 4), "float32")))
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
def embedding_norm(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return |x| of each sample, (B,): a metric of a float32 head.

    Example:
        >>> from keras_sphereface.heads import ASoftmax
        >>> logits = ASoftmax(num_classes=3)(np.array([[3.0, 4.0]], "float32"))
        >>> np.asarray(embedding_norm([0], logits)).tolist()
        [5.0]
    """
    del y_true
    call = call_of(y_pred)
    if call is None:
        return _failing_values(y_pred)
    return call.context.norms[:, 0]
