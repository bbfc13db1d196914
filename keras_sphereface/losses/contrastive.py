"""The contrastive loss on distances of pairs, with the arguments of TensorFlow Addons' class."""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.utils.compat import loss_config
from keras_sphereface.utils.validation import check_real


def contrastive_losses(is_same: tf.Tensor, distances: tf.Tensor, margin: float = 1.0) -> tf.Tensor:
    """Return d^2 of a mated pair, max(margin - d, 0)^2 of a non-mated pair.

    Args:
        is_same: (P,) or (P, 1) of any dtype, 1 for the same identity and 0 for two.
        distances: (P,) or (P, 1), >= 0, of any float dtype.
        margin: Distance from which on a non-mated pair has no loss.

    Returns:
        (P,), of the dtype of `distances`.

    Reference: Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant
    Mapping", CVPR 2006, equation 4 without its halves and with 1 for the same identity, not 0.

    Example:
        >>> contrastive_losses([1, 0], tf.constant([0.5, 0.5]), margin=1.5).numpy().tolist()
        [0.25, 1.0]
    """
    distances = tf.reshape(distances, [-1])
    is_same = tf.reshape(tf.cast(is_same, distances.dtype), tf.shape(distances))
    shortfall = tf.maximum(tf.cast(margin, distances.dtype) - distances, 0.0)
    return is_same * tf.square(distances) + (1.0 - is_same) * tf.square(shortfall)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ContrastiveLoss(keras.losses.Loss):
    """`contrastive_losses` as a Keras loss: `y_true` is 1 for mated pairs, `y_pred` distances.

    Args:
        margin: Float >= 0.
        name: String. Name of the loss.
        **kwargs: As for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: If `margin` is not a number >= 0.

    Example:
        >>> float(ContrastiveLoss(margin=1.5)([1.0, 0.0], tf.constant([0.5, 0.5])))
        0.625
    """

    def __init__(self, margin: float = 1.0, name: str = "contrastive_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.margin = check_real(margin, "margin", 0.0)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return contrastive_losses(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **loss_config(self), "margin": self.margin}
