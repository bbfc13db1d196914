"""`SphereFaceR`: the multiplicative margin for any real m."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops
from keras_sphereface.functional import margins
from keras_sphereface.functional.norms import l2_norm
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads._reductions import LogSumExp, Reduction
from keras_sphereface.heads.angular_head import AngularHead, checked_scale
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_choice, check_real

VERSIONS = ("v1", "v2")
EMBEDDING_NORMS = ("hard", "free", "soft")


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SphereFaceR(AngularHead):
    """SphereFace revived: a multiplicative margin for any real m, with a detached gradient.

    v1 makes the target harder, s cos(min(m theta_y, pi)); v2 makes the negatives harder,
    s cos(theta_j / m). s is a fixed number ("hard": every embedding gets that length), the
    embedding's own norm ("free"), or the own norm with a penalty `norm_weight` (|x| - s)^2 that
    draws it towards the number ("soft").

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float >= 1. The margin; 1.3 to 1.7 in the paper.
        version: "v1" or "v2".
        embedding_norm: "hard", "free" or "soft".
        scale: Float > 0, or "auto". s of "hard" and "soft".
        norm_weight: Float >= 0. Weight of the penalty of "soft".
        loss_weight: Float >= 0. The loss is multiplied by `loss_weight` / s, except with "free".
        gradient: "detached", as in the paper; "exact" for v1 only.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Liu et al., "SphereFace Revived: Unifying Hyperspherical Face Recognition", TPAMI
    2022.

    Example:
        >>> head = SphereFaceR(num_classes=3, m=1.4, version="v2", embedding_norm="soft")
        >>> head.loss([0, 2], head(np.ones((2, 4), "float32"))).shape
        TensorShape([])
    """

    def __init__(
        self,
        num_classes: int,
        m: float = 1.5,
        version: str = "v1",
        embedding_norm: str = "hard",
        scale: float | str = 30.0,
        norm_weight: float = 0.01,
        loss_weight: float = 30.0,
        gradient: str = "detached",
        **kwargs: Unpack[ClassWeightArguments],
    ):
        self.embedding_norm = check_choice(embedding_norm, "embedding_norm", EMBEDDING_NORMS)
        self.target_norm = checked_scale(scale, num_classes)
        fixed = self.target_norm if embedding_norm == "hard" else None
        super().__init__(num_classes, scale=fixed, gradient=gradient, **kwargs)
        self.m = check_real(m, "m", 1.0)
        self.version = check_choice(version, "version", VERSIONS)
        self.norm_weight = check_real(norm_weight, "norm_weight", 0.0)
        self.loss_weight = check_real(loss_weight, "loss_weight", 0.0)
        if version == "v2" and gradient != "detached":
            raise ValueError(f"`gradient` must be 'detached' with v2. Received: {gradient!r}")

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        return margins.multiplied_angle(cos_theta, self.m) if self.version == "v1" else cos_theta

    def negative_reduction(self, context: HeadContext) -> Reduction:
        if self.version == "v1":
            return LogSumExp()
        lengths = ops.stop_gradient(l2_norm(context.rows))
        return LogSumExp(lambda z: lengths * margins.divided_angle(z / lengths, self.m))

    @property
    def uninformative_loss(self) -> float | None:
        return super().uninformative_loss if self.embedding_norm == "free" else None

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        losses = super().sample_losses(target, negatives, labels, context)
        if self.embedding_norm != "free":
            losses = losses * (self.loss_weight / self.target_norm)
        if self.embedding_norm == "soft":
            losses = losses + self.norm_weight * ops.square(context.norms[:, 0] - self.target_norm)
        return losses

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "m": self.m,
            "version": self.version,
            "embedding_norm": self.embedding_norm,
            "scale": self.target_norm,
            "norm_weight": self.norm_weight,
            "loss_weight": self.loss_weight,
        }
