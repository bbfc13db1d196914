"""`AdaFace`: a margin that follows the image's quality, told by the norm of its embedding."""

import math
from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops, value_of
from keras_sphereface.functional.margins import safe_angle
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.base import Shape
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.compat import add_replicated_weight
from keras_sphereface.utils.validation import check_real

# As in the code of Kim et al.
START_MEAN, START_STD = 20.0, 100.0
NORM_RANGE = (1e-3, 100.0)
STD_FLOOR = 1e-3


@keras.saving.register_keras_serializable(package="keras_sphereface")
class AdaFace(AngularHead):
    """Softmax of s cos(theta_j) with a margin that adapts to the norm |x| of the embedding.

    The norm stands for the quality of the image. With its place among the norms of the batches,

        q = clip((|x| - mean) / (std / h), -1, 1),

    the target is s (cos(theta_y + g_angle) - g_add), g_angle = -m q and g_add = m q + m. At q = -1,
    a poor image, this is ArcFace; at q = 0 CosFace; and at q = 1 the margin gives hard images more
    weight than both. theta_y + g_angle is kept in [0, pi].

    mean and std are those of |x|, from 0.001 to 100, over the global batch, as moving averages:
    mean = `norm_rate` mean of the batch + (1 - `norm_rate`) mean before, and so std. They start at
    20 and 100, move in a call with `training=True` and labels before they are used, and are saved
    with the weights (`norm_mean`, `norm_std`). No gradient goes through q.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 1.5]. The margin.
        scale: Float > 0, or "auto". s.
        h: Float > 0. How much of the spread of the norms q takes: 0.333 has two thirds of all
            images between -1/3 and 1/3.
        norm_rate: Float in [0, 1]. Share of a batch in mean and std.
        gradient: "exact" or "detached", as for `AngularHead`.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022,
    section 3.3, and their code for what the paper leaves open.

    Example:
        >>> head = AdaFace(num_classes=3, norm_rate=1.0)
        >>> embeddings = 8.0 * np.eye(2, 4, dtype="float32")
        >>> output = head.compute_losses(embeddings, [0, 2], training=True)
        >>> float(head.norm_mean), float(head.norm_std)
        (8.0, 0.0)
    """

    needs_global_batch = True

    def __init__(
        self,
        num_classes: int,
        m: float = 0.4,
        scale: float | str = 64.0,
        h: float = 0.333,
        norm_rate: float = 0.01,
        gradient: str = "exact",
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=scale, gradient=gradient, **kwargs)
        self.m = check_real(m, "m", 0.0, 1.5)
        self.h = check_real(h, "h", 1e-6)
        self.norm_rate = check_real(norm_rate, "norm_rate", 0.0, 1.0)

    def build_shared(self, input_shape: Shape) -> None:
        super().build_shared(input_shape)
        self.norm_mean, self.norm_std = (
            add_replicated_weight(self, name, (), self.compute_dtype, start)
            for name, start in (("norm_mean", START_MEAN), ("norm_std", START_STD))
        )

    def with_state(self, context: HeadContext, labels: Tensor) -> HeadContext:
        weights = (self.norm_mean, self.norm_std)
        state = [value_of(weight) for weight in weights]
        if context.training:
            norms = context.replica_slice(labels).gather(_norms(context))
            count = ops.cast(ops.shape(norms)[0], self.compute_dtype)
            mean = ops.mean(norms)
            squares = ops.sum(ops.square(norms - mean))
            std = ops.sqrt(squares / ops.maximum(count - 1.0, 1.0))
            rate = self.norm_rate
            state = [
                rate * new + (1.0 - rate) * old for new, old in zip((mean, std), state, strict=True)
            ]
            for weight, value in zip(weights, state, strict=True):
                weight.assign(value)
        return context._replace(state=state)

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        mean, std = context.state
        quality = ops.clip((_norms(context) - mean) / (std + STD_FLOOR) * self.h, -1.0, 1.0)
        angles = ops.clip(safe_angle(cos_theta) - self.m * quality, 0.0, math.pi)
        return ops.cos(angles) - self.m * (quality + 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m, "h": self.h, "norm_rate": self.norm_rate}


def _norms(context: HeadContext) -> Tensor:
    return ops.clip(ops.stop_gradient(context.norms[:, 0]), *NORM_RANGE)
