"""`MagFace`: a margin that grows with the norm of the embedding, and a reward for long ones."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops
from keras_sphereface.functional import margins
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_real, require


@keras.saving.register_keras_serializable(package="keras_sphereface")
class MagFace(AngularHead):
    """ArcFace with a margin m(a) that grows with a = |x|, and a term that draws embeddings out.

    With a clipped to [`norm_min`, `norm_max`], the target is s cos(theta_y + m(a)),

        m(a) = (`m_max` - m) (a - `norm_min`) / (`norm_max` - `norm_min`) + m,

    and `term_weight` g(a), g(a) = 1 / a + a / `norm_max`^2, is added to the loss of a sample. An
    embedding that is easy to tell becomes long, so that |x| of a trained network says how good an
    image is. The gradient goes through m(a) too; beyond the clip neither m nor g has a slope, so
    `norm_min` must be near the norms that the network starts with.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 3]. The margin at `norm_min`, l_m in the paper.
        m_max: Float from `m` to 3. The margin at `norm_max`, u_m.
        norm_min: Float > 0. Shortest |x| that is told from shorter ones, l_a.
        norm_max: Float > `norm_min`. Longest |x| that is told from longer ones, u_a.
        scale: Float > 0, or "auto". s.
        term_weight: Float >= 0. Weight of g, lambda_g. For the loss to have its only minimum
            the paper needs at least s u_a^2 l_a^2 / (u_a^2 - l_a^2) (u_m - l_m) / (u_a - l_a).
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Meng et al., "MagFace: A Universal Representation for Face Recognition and Quality
    Assessment", CVPR 2021, section 3.2, and their code for l_a to u_m and lambda_g = 35. Beyond
    theta = pi - m(a) the target is that of `added_angle`.

    Example:
        >>> head = MagFace(num_classes=3, norm_min=2.0, norm_max=12.0)
        >>> head.build((None, 2))
        >>> context = head.context(np.array([[3.0, 4.0]], "float32"))  # |x| = 5
        >>> round(float(head.margins_of(context)[0]), 3)
        0.555
    """

    gradients = ("exact",)

    def __init__(
        self,
        num_classes: int,
        m: float = 0.45,
        m_max: float = 0.8,
        norm_min: float = 10.0,
        norm_max: float = 110.0,
        scale: float | str = 64.0,
        term_weight: float = 35.0,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=scale, **kwargs)
        self.m = check_real(m, "m", 0.0, 3.0)
        self.m_max = check_real(m_max, "m_max", 0.0, 3.0)
        self.norm_min = check_real(norm_min, "norm_min", 1e-6)
        self.norm_max = check_real(norm_max, "norm_max", 1e-6)
        self.term_weight = check_real(term_weight, "term_weight", 0.0)
        require(self.m <= self.m_max, "`m` must be <= `m_max`.", m=m, m_max=m_max)
        require(
            self.norm_min < self.norm_max,
            "`norm_min` must be below `norm_max`.",
            norm_min=norm_min,
            norm_max=norm_max,
        )

    def margins_of(self, context: HeadContext) -> Tensor:
        """Return the margin of each sample in radians, (B,)."""
        share = (self._norms(context) - self.norm_min) / (self.norm_max - self.norm_min)
        return (self.m_max - self.m) * share + self.m

    def _norms(self, context: HeadContext) -> Tensor:
        return ops.clip(context.norms[:, 0], self.norm_min, self.norm_max)

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        return margins.added_angle(cos_theta, self.margins_of(context))

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        norms = self._norms(context)
        penalty = 1.0 / norms + norms / self.norm_max**2
        losses = super().sample_losses(target, negatives, labels, context)
        return losses + self.term_weight * penalty

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "m": self.m,
            "m_max": self.m_max,
            "norm_min": self.norm_min,
            "norm_max": self.norm_max,
            "term_weight": self.term_weight,
        }
