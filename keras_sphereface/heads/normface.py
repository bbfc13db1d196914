"""`NormFace`: softmax of scaled cosines, without a margin."""

import keras
from typing_extensions import Unpack

from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.angular_head import AngularHead


@keras.saving.register_keras_serializable(package="keras_sphereface")
class NormFace(AngularHead):
    """Softmax of s cos(theta_j), without a margin.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        scale: Float > 0, or "auto". s.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Wang et al., "NormFace", ACM Multimedia 2017.

    Example:
        >>> logits = NormFace(num_classes=3, scale=8.0)(np.ones((2, 4), "float32"))
        >>> bool(np.abs(logits).max() <= 8.0)
        True
    """

    has_margin = False

    def __init__(
        self, num_classes: int, scale: float | str = 30.0, **kwargs: Unpack[ClassWeightArguments]
    ):
        super().__init__(num_classes, scale=scale, **kwargs)
