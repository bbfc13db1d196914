"""`CurricularFace`: ArcFace that looks at easy negatives first and at hard ones later."""

import math
from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops, value_of
from keras_sphereface.functional import margins
from keras_sphereface.heads._class_weights import ClassWeightArguments, cosines_to_targets
from keras_sphereface.heads._reductions import Reduction, SlopedLogSumExp
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.base import Shape
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.compat import add_replicated_weight
from keras_sphereface.utils.validation import check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class CurricularFace(AngularHead):
    """ArcFace whose hard negatives count little at first and much later.

    The target is s cos(theta_y + m). A negative with cos(theta_j) <= cos(theta_y + m) is easy, and
    its logit stays s cos(theta_j); that of a hard one is

        s N(t, cos theta_j) = s cos(theta_j) (t + cos(theta_j)).

    t is the moving average of the mean target cosine of the global batches, t = `t_rate` mean
    + (1 - `t_rate`) t before: about 0 at first, so that hard negatives are made easier, and toward
    the end larger than 1 - cos(theta_j), so that they are made harder. It starts at 0, moves in a
    call with `training=True` and labels before it is used, and is saved with the weights (`t`).
    Neither t nor what is hard has a gradient; the slope of a hard logit by its cosine is
    s (t + 2 cos(theta_j)).

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 3]. The margin in radians.
        scale: Float > 0, or "auto". s.
        t_rate: Float in [0, 1]. Share of a batch in t.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face
    Recognition", CVPR 2020, section 3.2, and their code. Beyond theta = pi - m the target is that
    of `added_angle`.

    Example:
        >>> head = CurricularFace(num_classes=2, t_rate=0.5, kernel_initializer="identity")
        >>> output = head.compute_losses(np.eye(2, dtype="float32"), [0, 1], training=True)
        >>> float(head.t)
        0.5
    """

    gradients = ("exact",)
    needs_global_batch = True

    def __init__(
        self,
        num_classes: int,
        m: float = 0.5,
        scale: float | str = 64.0,
        t_rate: float = 0.01,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=scale, **kwargs)
        self.m = check_real(m, "m", 0.0, 3.0)
        self.t_rate = check_real(t_rate, "t_rate", 0.0, 1.0)

    def build_shared(self, input_shape: Shape) -> None:
        super().build_shared(input_shape)
        self.t = add_replicated_weight(self, "t", (), self.compute_dtype)

    def with_state(self, context: HeadContext, labels: Tensor) -> HeadContext:
        cosines, t = cosines_to_targets(context, labels), value_of(self.t)
        if context.training:
            mean = ops.mean(context.replica_slice(labels).gather(cosines))
            t = self.t_rate * mean + (1.0 - self.t_rate) * t
            self.t.assign(t)
        sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), 0.0))
        thresholds = cosines * math.cos(self.m) - sines * math.sin(self.m)
        return context._replace(state=(t, thresholds))

    def negative_reduction(self, context: HeadContext) -> Reduction:
        t, thresholds = context.state

        def by_hardness(logits: Tensor, hard: Tensor, easy: Tensor) -> Tensor:
            return ops.where(logits > self.scale * thresholds[:, None], hard, easy)

        def change(logits: Tensor) -> Tensor:
            return by_hardness(logits, logits * (t + logits / self.scale), logits)

        def slope(logits: Tensor) -> Tensor:
            hard = t + 2.0 * logits / self.scale
            return by_hardness(logits, hard, ops.ones_like(logits))

        return SlopedLogSumExp(change, slope)

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        return margins.added_angle(cos_theta, self.m)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m, "t_rate": self.t_rate}
