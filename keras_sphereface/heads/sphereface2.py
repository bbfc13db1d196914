"""`SphereFace2`: a binary classification of every class."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops, value_of
from keras_sphereface.functional import margins
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads._reductions import Reduction, WeightedSum
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.base import Shape
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SphereFace2(AngularHead):
    """A binary classification of every class: is the image of this identity or not?

    With g(z) = 2 ((z + 1) / 2)^3 - 1 and a trainable bias b, the loss of a sample is

        alpha / r softplus(-(r (g(cos theta_y) - m) + b))
        + (1 - alpha) / r sum over the negatives softplus(r (g(cos theta_j) + m) + b).

    The logits of this layer are the cosines.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 1]. The margin.
        r: Float > 0. Scale inside the loss.
        alpha: Float in (0, 1). Weight of the target class.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face
    Recognition", ICLR 2022.

    Example:
        >>> head = SphereFace2(num_classes=3)
        >>> bool(np.abs(head(np.ones((2, 4), "float32"))).max() <= 1.0)
        True
    """

    gradients = ("exact",)

    def __init__(
        self,
        num_classes: int,
        m: float = 0.4,
        r: float = 40.0,
        alpha: float = 0.7,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        options: dict[str, Any] = dict(kwargs)
        if (scale := options.pop("scale", 1.0)) != 1.0:
            raise ValueError(
                "`scale` must be 1, since the logits are cosines; set `r`, the scale in the loss. "
                f"Received: scale={scale!r}"
            )
        super().__init__(num_classes, scale=1.0, **options)
        self.m = check_real(m, "m", 0.0, 1.0)
        self.r = check_real(r, "r", 1e-6)
        self.alpha = check_real(alpha, "alpha", 1e-6, 1.0 - 1e-6)

    def build_shared(self, input_shape: Shape) -> None:
        super().build_shared(input_shape)
        start = margins.balanced_bias(self.num_classes, self.r, self.m, self.alpha)
        self.bias = self.add_weight(
            name="bias", shape=(), initializer=keras.initializers.Constant(start)
        )

    def negative_reduction(self, context: HeadContext) -> Reduction:
        def entry(cosines: Tensor, bias: Tensor) -> Tensor:
            return ops.softplus(self.r * (margins.stretched_cosine(cosines) + self.m) + bias)

        return WeightedSum(entry, [value_of(self.bias)])

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        bias = value_of(self.bias)
        positive = self.r * (margins.stretched_cosine(target) - self.m) + bias
        return (self.alpha * ops.softplus(-positive) + (1.0 - self.alpha) * negatives) / self.r

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m, "r": self.r, "alpha": self.alpha}
