"""`UniFace`: one threshold, learned, between all target cosines and all others."""

import math
from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops, value_of
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads._reductions import Reduction, WeightedSum
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.base import Shape
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_real, refuse_auto_scale


@keras.saving.register_keras_serializable(package="keras_sphereface")
class UniFace(AngularHead):
    """The unified cross-entropy: target cosines above one threshold, all others below it.

    With a trainable bias b, the threshold times s, the loss of a sample is

        softplus(b - s (cos(theta_y) - m))
        + `negative_weight` sum over the negatives of softplus(s cos(theta_j) - b).

    b starts at ln(10 C). Unlike a softmax, which asks for a threshold in each sample, the loss asks
    for the one that verification uses. The logits of this layer are s cos(theta_j).

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 1]. The margin.
        scale: Float > 0. s. A number only: "auto" is derived for a softmax.
        negative_weight: Float > 0. lambda in the paper, against the imbalance of one target and
            C - 1 negatives. Its other means, a share r of the negatives that are drawn and count
            once, is nearly this weight; with `sample_rate` those drawn stand for all.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Zhou et al., "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition", ICCV
    2023, equations 31 and 32.

    Example:
        >>> head = UniFace(num_classes=10)
        >>> head.build((None, 4))
        >>> round(float(head.bias), 3)
        4.605
    """

    scale: float
    gradients = ("exact",)

    def __init__(
        self,
        num_classes: int,
        m: float = 0.4,
        scale: float = 64.0,
        negative_weight: float = 1.0,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=refuse_auto_scale(scale, "UniFace"), **kwargs)
        self.m = check_real(m, "m", 0.0, 1.0)
        self.negative_weight = check_real(negative_weight, "negative_weight", 1e-9)

    def build_shared(self, input_shape: Shape) -> None:
        super().build_shared(input_shape)
        start = keras.initializers.Constant(math.log(10.0 * self.num_classes))
        self.bias = self.add_weight(name="bias", shape=(), initializer=start)

    def negative_reduction(self, context: HeadContext) -> Reduction:
        return WeightedSum(lambda logits, bias: ops.softplus(logits - bias), [value_of(self.bias)])

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        positive = target - self.scale * self.m - value_of(self.bias)
        return ops.softplus(-positive) + self.negative_weight * negatives

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m, "negative_weight": self.negative_weight}
