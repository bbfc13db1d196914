"""`ElasticFace`: a margin that is drawn anew for each image and step."""

import math
from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops, uniform
from keras_sphereface.functional import margins
from keras_sphereface.heads._class_weights import ClassWeightArguments, cosines_to_targets
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.validation import check_choice, check_real

MARGINS = {"arc": 0.5, "cos": 0.35}  # and the m that the paper takes from ArcFace and CosFace


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ElasticFace(AngularHead):
    """ArcFace or CosFace with a margin E drawn for each sample of each step, E ~ N(m, std^2).

    The target is s cos(theta_y + E) ("arc") or s (cos(theta_y) - E) ("cos"). In a call without
    `training=True` E is m. The draws of a step follow from `seed` and the number of the step, one
    for each row of the global batch: they are the same however many devices share it, and after a
    restart. (XLA, and each backend of Keras, draws other numbers from a seed.)

    Args:
        num_classes: Int >= 2. C, the number of classes.
        kind: "arc" or "cos".
        m: Float in [0, 3]. Mean of the margins; None: 0.5 with "arc" and 0.35 with "cos".
        margin_std: Float >= 0. std, their standard deviation; in the paper 0.05, and with
            `sort_margins` 0.0175 ("arc") and 0.025 ("cos").
        scale: Float > 0, or "auto". s.
        sort_margins: Bool. ElasticFace+: the samples of a batch that are farther from their class
            weight get the larger ones of its margins.
        gradient: "exact" or "detached", as for `AngularHead`.
        seed: Int >= 0. Seed for margins and class sampling.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Boutros et al., "ElasticFace: Elastic Margin Loss for Deep Face Recognition", CVPR
    Workshops 2022, section 3.2. Beyond theta = pi - E the target of "arc" is that of `added_angle`.

    Example:
        >>> head = ElasticFace(num_classes=3, kind="cos", seed=1)
        >>> draws = [np.asarray(head.draw_margins(4, step)) for step in (1, 1, 2)]
        >>> bool((draws[0] == draws[1]).all()), bool((draws[0] == draws[2]).any())
        (True, False)
    """

    needs_global_batch = True

    def __init__(
        self,
        num_classes: int,
        kind: str = "arc",
        m: float | None = None,
        margin_std: float = 0.05,
        scale: float | str = 64.0,
        sort_margins: bool = False,
        gradient: str = "exact",
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, scale=scale, gradient=gradient, **kwargs)
        self.kind = check_choice(kind, "kind", MARGINS)
        self.m = check_real(MARGINS[kind] if m is None else m, "m", 0.0, 3.0)
        self.margin_std = check_real(margin_std, "margin_std", 0.0)
        self.sort_margins = bool(sort_margins)

    def draw_margins(self, size: int | Tensor, step: int | Tensor) -> Tensor:
        """Return the margins of a global batch of `size` samples at a step, (size,)."""
        # Another seed than that of the sampled classes, and of what other heads draw.
        seed = (self.seed + 2, ops.cast(step % 2**20, "int32"))
        drawn = ops.cast(ops.convert_to_tensor(uniform(2 * size, seed)), self.compute_dtype)
        # Two uniform numbers make a normal one (Box and Muller); 1 - u is never 0.
        radius = ops.sqrt(-2.0 * ops.log(1.0 - drawn[:size]))
        return self.m + self.margin_std * radius * ops.cos(2.0 * math.pi * drawn[size:])

    def with_state(self, context: HeadContext, labels: Tensor) -> HeadContext:
        if not context.training:
            return context
        replica = context.replica_slice(labels)
        size = ops.shape(replica.gather(labels))[0]
        drawn = self.draw_margins(size, context.step)
        if self.sort_margins:
            cosines = replica.gather(cosines_to_targets(context, labels))
            nearest_first = ops.cast(ops.top_k(cosines, size)[1], "int32")
            drawn = ops.scatter_update(
                ops.zeros_like(drawn), nearest_first[:, None], ops.sort(drawn)
            )
        return context._replace(state=(replica.cut(drawn),))

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        m = context.state[0] if context.state else self.m
        if self.kind == "arc":
            return margins.added_angle(cos_theta, m)
        return margins.subtracted_cosine(cos_theta, m)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.kind,
            "m": self.m,
            "margin_std": self.margin_std,
            "sort_margins": self.sort_margins,
        }
