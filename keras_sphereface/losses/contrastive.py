"""The contrastive loss on distances of pairs, with the arguments of TensorFlow Addons' class."""

from typing import Any

import keras

from keras_sphereface.backend import Tensor, dtype_of, ops
from keras_sphereface.utils.compat import loss_config
from keras_sphereface.utils.validation import check_real


def contrastive_losses(is_same: Tensor, distances: Tensor, margin: float = 1.0) -> Tensor:
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
        >>> np.asarray(contrastive_losses([1, 0], np.array([0.5, 0.5]), margin=1.5)).tolist()
        [0.25, 1.0]
    """
    distances = ops.reshape(ops.convert_to_tensor(distances), [-1])
    is_same = ops.cast(ops.reshape(ops.convert_to_tensor(is_same), [-1]), dtype_of(distances))
    shortfall = ops.maximum(margin - distances, 0.0)
    return is_same * ops.square(distances) + (1.0 - is_same) * ops.square(shortfall)


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
        >>> float(ContrastiveLoss(margin=1.5)([1.0, 0.0], np.array([0.5, 0.5])))
        0.625
    """

    def __init__(self, margin: float = 1.0, name: str = "contrastive_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.margin = check_real(margin, "margin", 0.0)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return contrastive_losses(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **loss_config(self), "margin": self.margin}
