"""`CosFace`: softmax with a margin that is subtracted from the cosine."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor
from keras_sphereface.functional import margins
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class CosFace(AngularHead):
    """Softmax of s cos(theta_j), the target being s (cos(theta_y) - m).

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 2]. The margin.
        scale: Float > 0, or "auto". s.
        gradient: "exact" or "detached", as for `AngularHead`; the same for this margin.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Wang et al., "CosFace", CVPR 2018, equation 4.

    Example:
        >>> head = CosFace(num_classes=3, m=0.2)
        >>> head.loss([0, 2], head(np.ones((2, 4), "float32"))).shape
        TensorShape([])
    """

    def __init__(
        self,
        num_classes: int,
        m: float = 0.35,
        scale: float | str = 64.0,
        gradient: str = "exact",
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=scale, gradient=gradient, **kwargs)
        self.m = check_real(m, "m", 0.0, 2.0)

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        return margins.subtracted_cosine(cos_theta, self.m)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m}
