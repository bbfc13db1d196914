"""`Circle`: the Circle loss over class weights."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads._reductions import Reduction, SlopedLogSumExp
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_real, refuse_auto_scale


@keras.saving.register_keras_serializable(package="keras_sphereface")
class Circle(AngularHead):
    """Softmax in which each cosine is weighed by how far it is from where it should be.

    With s_y = cos(theta_y) and s_j = cos(theta_j) the loss is

        log(1 + sum over j of exp(scale a_j (s_j - m)) exp(-scale a_y (s_y - (1 - m)))),
        a_y = max(1 + m - s_y, 0) and a_j = max(s_j + m, 0),

    the general form of the Circle loss with class weights in place of other images, and with
    O_p = 1 + m, O_n = -m, D_p = 1 - m, D_n = m. The boundary is the circle
    (1 - s_y)^2 + s_j^2 = 2 m^2. As in the paper the gradient takes a_y and a_j for constants. The
    logits of this layer are scale cos(theta_j).

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 1]. The relaxation, m in the paper.
        scale: Float > 0. gamma in the paper, 256 for faces. A number only: "auto" is derived for a
            softmax of s cos(theta).
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
    CVPR 2020, sections 3.1 to 3.3.

    Example:
        >>> head = Circle(num_classes=2, scale=8.0, kernel_initializer="identity")
        >>> output = head.compute_losses(np.eye(2, dtype="float32"), [0, 1])
        >>> round(float(output.losses[0]), 3)  # log(1 + exp(-8 m^2 - 8 m^2))
        0.313
    """

    scale: float
    gradients = ("exact",)

    def __init__(
        self,
        num_classes: int,
        m: float = 0.25,
        scale: float = 256.0,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=refuse_auto_scale(scale, "Circle"), **kwargs)
        self.m = check_real(m, "m", 0.0, 1.0)

    def negative_reduction(self, context: HeadContext) -> Reduction:
        def slope(logits: Tensor) -> Tensor:
            return ops.maximum(logits / self.scale + self.m, 0.0)

        def change(logits: Tensor) -> Tensor:
            return slope(logits) * (logits - self.scale * self.m)

        return SlopedLogSumExp(change, slope)

    def target_logits(self, target: Tensor, labels: Tensor, context: HeadContext) -> Tensor:
        weight = ops.stop_gradient(ops.maximum(1.0 + self.m - target / self.scale, 0.0))
        return weight * (target - self.scale * (1.0 - self.m))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m}
