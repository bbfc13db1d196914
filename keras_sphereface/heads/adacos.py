"""`AdaCos`: softmax of cosines with a scale that follows the training."""

import math
from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, matmul, ops, value_of
from keras_sphereface.functional.margins import safe_angle
from keras_sphereface.functional.scales import auto_scale
from keras_sphereface.heads._class_weights import ClassWeightArguments, blocks_of, is_sampled
from keras_sphereface.heads._fused_softmax import target_and_negatives
from keras_sphereface.heads._reductions import LogSumExp
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.base import Shape
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.compat import add_replicated_weight
from keras_sphereface.utils.validation import require

LOWEST_SCALE = 1e-3  # with very few classes the formula may fall below 0 in a step


@keras.saving.register_keras_serializable(package="keras_sphereface")
class AdaCos(AngularHead):
    """Softmax of s cos(theta_j), without a margin, whose scale s is computed at each step.

    s starts at sqrt(2) ln(C - 1). A call with `training=True` and labels first moves it to

        s = ln(B) / cos(min(pi / 4, median theta_y)),

    the median and the mean B of sum over j != y of exp(s before cos(theta_j)) being those of the
    global batch: the scale at which the probability of the target class changes most at the median
    angle, so that it falls while training brings the angles down. It has no gradient, and is saved
    with the weights (`adaptive_scale`). The mean over the batch is looked at before the loss, which
    takes another pass over the logits.

    For a fixed scale see `scale="auto"` of the other heads; there is none to set here.

    Args:
        num_classes: Int >= 3. C, the number of classes.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Reference: Zhang et al., "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep
    Face Representations", CVPR 2019, section 4.2.

    Example:
        >>> head = AdaCos(num_classes=100)
        >>> head.build((None, 4))
        >>> round(float(head.adaptive_scale), 3)
        6.498
    """

    gradients = ("exact",)
    needs_global_batch = True

    def __init__(self, num_classes: int, **kwargs: Unpack[ClassWeightArguments]):
        options: dict[str, Any] = dict(kwargs)
        scale = options.pop("scale", None)
        require(
            scale is None,
            "`scale` must be None in AdaCos, which computes it; NormFace has a fixed one.",
            scale=scale,
        )
        super().__init__(num_classes, scale=1.0, **options)
        self.start_scale = auto_scale(self.num_classes)

    def build_shared(self, input_shape: Shape) -> None:
        super().build_shared(input_shape)
        self.adaptive_scale = add_replicated_weight(
            self, "adaptive_scale", (), self.compute_dtype, self.start_scale
        )

    def context(self, *args: Any, **kwargs: Any) -> HeadContext:
        context = super().context(*args, **kwargs)
        # A number of its own: PyTorch assigns in place, also to what a gradient still needs.
        scale = 1.0 * value_of(self.adaptive_scale)
        return context._replace(rows=context.rows * scale, state=(scale,))

    def with_state(self, context: HeadContext, labels: Tensor) -> HeadContext:
        if not context.training:
            return context
        (before,) = context.state
        products, sampled = context.products, is_sampled(self, context)
        if len(context.kernels) == 1 and products is None and not sampled:
            # Computed once, for the scale and for the loss.
            products = matmul(context.rows, context.kernels[0])
            products = products * context.inverses[0] if context.inverses else products
            products = ops.stop_gradient(products)
        blocks = [
            block._replace(kernel=ops.stop_gradient(block.kernel))
            for block in blocks_of(self, context, labels)
        ]
        target, negatives, _ = target_and_negatives(
            ops.stop_gradient(context.rows),
            blocks,
            LogSumExp(),
            None if sampled else products,
            context.shard,
        )
        gather = context.replica_slice(labels).gather
        scale = adapted_scale(gather(target / before), gather(negatives))
        self.adaptive_scale.assign(scale)
        factor = scale / before
        return context._replace(
            rows=context.rows * factor,
            products=None if products is None else products * factor,
            state=(scale,),
        )

    def target_logits(self, target: Tensor, labels: Tensor, context: HeadContext) -> Tensor:
        return target

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["scale"]
        return config


def adapted_scale(cosines: Tensor, negatives: Tensor) -> Tensor:
    """Return the scale of AdaCos after a batch, a scalar without a gradient.

    Args:
        cosines: (B,), the target cosines.
        negatives: (B,), the log-sum-exp of the other logits at the scale before.

    Reference: Zhang et al., "AdaCos", CVPR 2019, section 4.2.

    Example:
        >>> cosines, negatives = np.array([0.0, 1.0, 0.9]), np.log([9.0, 10.0, 11.0])
        >>> round(float(adapted_scale(cosines, negatives)), 2)  # ln(10) / 0.9
        2.56
    """
    cosines, negatives = ops.stop_gradient(cosines), ops.stop_gradient(negatives)
    angles, count = ops.sort(safe_angle(cosines)), ops.shape(cosines)[0]
    middle = ops.stack([(count - 1) // 2, count // 2])
    median = ops.mean(ops.take(angles, middle, axis=0))
    highest = ops.max(negatives)
    logarithm = highest + ops.log(ops.mean(ops.exp(negatives - highest)))
    return ops.maximum(logarithm / ops.cos(ops.minimum(median, math.pi / 4)), LOWEST_SCALE)
