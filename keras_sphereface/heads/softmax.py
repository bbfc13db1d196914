"""`PlainSoftmax`: the baseline, softmax without normalization and without a margin."""

import keras
from typing_extensions import Unpack

from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.angular_head import AngularHead


@keras.saving.register_keras_serializable(package="keras_sphereface")
class PlainSoftmax(AngularHead):
    """Softmax with class weights of any length and a bias: logits x.w_j + b_j.

    The baseline of A-Softmax: a `Dense` layer with the loss, the blocks and the sampling of this
    family.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        **kwargs: `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Example:
        >>> PlainSoftmax(num_classes=10, block_size=5).block_sizes()
        [5, 5]
    """

    has_margin = False
    use_bias = True

    def __init__(self, num_classes: int, **kwargs: Unpack[ClassWeightArguments]):
        super().__init__(num_classes, **kwargs)
        for name, only in (("scale", None), ("gradient", "exact"), ("kernel_norm", "through")):
            if getattr(self, name) != only:
                raise ValueError(
                    f"`{name}` must be {only!r} in PlainSoftmax, which normalizes nothing. "
                    f"Received: {name}={getattr(self, name)!r}"
                )

    @property
    def normalize(self) -> bool:
        return False
