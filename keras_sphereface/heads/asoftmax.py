"""`ASoftmax`: the classification layer of SphereFace."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, dtype_of, ops, value_of, vector_jacobian
from keras_sphereface.config.scaling import PAPER_GAMMA
from keras_sphereface.functional import annealing
from keras_sphereface.functional.norms import l2_norm
from keras_sphereface.functional.psi import psi
from keras_sphereface.heads._class_weights import ClassWeightArguments, target_weights
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.losses.head_loss import ASoftmaxLoss
from keras_sphereface.utils.compat import loss_dtype
from keras_sphereface.utils.validation import check_integer


class AnnealedArguments(ClassWeightArguments, total=False):
    """Arguments of `ASoftmax` beside the margin."""

    base: float
    gamma: float | None
    power: float
    lambda_min: float
    margin_warmup_steps: int
    gradient: str
    total_steps: int | None
    gradient_accumulation_steps: int


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ASoftmax(AngularHead):
    """Angular softmax: embeddings (B, D) -> |x| cos(theta_j) for each of C classes.

    The margin is applied in the loss, which has the labels; the layer needs none:

        head = ASoftmax(num_classes, m=4)
        model.add(head)
        model.compile("sgd", loss=head.loss, metrics=["accuracy"])

    The layer owns m and the annealing. It counts the training steps it has seen in a weight
    of its own, so lambda continues after any way of saving and restoring weights. A training
    step is one call with `training=True`.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Int >= 1. The margin. m = 1 is the modified softmax: normalized class weights, no
            margin. The paper recommends 4.
        base, gamma, power, lambda_min: The annealing
            lambda = max(lambda_min, base * (1 + gamma * step)^(-power)); by default with the
            values of Liu et al., which take 1,659 steps; with `total_steps`, gamma is by default
            what reaches `lambda_min` in time. `base=0, lambda_min=0` is the pure margin.
        margin_warmup_steps: Int >= 0. Number of first steps that are trained with m = 1; the
            annealing counts from there.
        gradient: "exact", the derivative of the loss; "detached", where the margin changes the
            value of the target only and its slope is that of the cosine (Liu et al., "SphereFace
            Revived", TPAMI 2022); or "caffe", that of the reference implementation: the class
            weights learn as with "detached", the embeddings from a margin term divided by the
            length of its two coefficients.
        total_steps: Int >= 1. Training steps to come, epochs times steps an epoch. Without
            `gamma`, lambda then reaches `lambda_min` by 4/7 of them at the latest. None: gamma is
            0.12, for 28,000 steps.
        gradient_accumulation_steps: Int >= 1. The optimizer's argument of this name: training calls
            that make one step. At 1 in `EmbeddingClassifier`, which asks its optimizer.
        **kwargs: `kernel_norm`, `block_size`, `sample_rate`, `seed`, `kernel_initializer`,
            `kernel_regularizer` and `dtype` as for `AngularHead`, and `name`.

    Raises:
        TypeError, ValueError: If an argument is out of range.

    Reference: Liu et al., "SphereFace", CVPR 2017, equations 6 and 7.

    Example:
        >>> head = ASoftmax(num_classes=3, m=4)
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), head])
        >>> model.compile("sgd", loss=head.loss, metrics=["accuracy"])
        >>> history = model.fit(np.ones((6, 8)), np.arange(6) % 3, batch_size=2, verbose=0)
        >>> int(head.step), round(float(head.annealing_lambda), 2)
        (3, 735.29)
        >>> head = ASoftmax(num_classes=3, m=4, total_steps=300)
        >>> round(head.annealing.gamma, 2)
        1.16
    """

    gradients = ("exact", "caffe", "detached")

    def __init__(
        self,
        num_classes: int,
        m: int = 4,
        base: float = 1000.0,
        gamma: float | None = None,
        power: float = 1.0,
        lambda_min: float = 5.0,
        margin_warmup_steps: int = 0,
        gradient: str = "exact",
        total_steps: int | None = None,
        gradient_accumulation_steps: int = 1,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        options: dict[str, Any] = dict(kwargs)
        if (scale := options.pop("scale", None)) is not None:
            raise ValueError(
                "A-Softmax has no `scale`, since embeddings keep their length; leave it at None. "
                f"Received: scale={scale!r}"
            )
        super().__init__(num_classes, gradient=gradient, **options)
        self.m = check_integer(m, "m", 1)
        self.total_steps = (
            None if total_steps is None else check_integer(total_steps, "total_steps", 1)
        )
        first_gamma = PAPER_GAMMA if gamma is None else gamma
        self.annealing = annealing.check_annealing(
            annealing.Annealing(base, first_gamma, power, lambda_min, margin_warmup_steps)
        )
        self.gradient_accumulation_steps = check_integer(
            gradient_accumulation_steps, "gradient_accumulation_steps", 1
        )
        if gamma is None and total_steps is not None:
            self.annealing = annealing.scaled_annealing(self.annealing, total_steps)

    @property
    def loss(self) -> ASoftmaxLoss:
        """The matching loss, with this layer's m."""
        return ASoftmaxLoss(self.m, **loss_dtype(self.compute_dtype))

    @property
    def last_step(self) -> Tensor:
        calls, count = value_of(self.step), self.gradient_accumulation_steps
        return calls if count == 1 else (calls + (count - 1)) // count

    @property
    def annealing_lambda(self) -> Tensor:
        """lambda after the steps counted so far, a float32 scalar; infinite in the warmup."""
        return annealing.annealing_lambda(self.last_step, self.annealing)

    def target_cosine(self, cos_theta: Tensor, context: HeadContext) -> Tensor:
        annealing_lambda = annealing.annealing_lambda(context.step, self.annealing)
        return annealing.blend(cos_theta, self.m, ops.cast(annealing_lambda, dtype_of(cos_theta)))

    def target_logits(self, target: Tensor, labels: Tensor, context: HeadContext) -> Tensor:
        with_margin = super().target_logits(target, labels, context)
        if self.gradient != "caffe":
            return with_margin
        return with_margin + self._caffe_term(target, labels, context)

    def _caffe_term(self, target: Tensor, labels: Tensor, context: HeadContext) -> Tensor:
        """Zeros (B,) whose slope by the embeddings turns "detached" into "caffe".

        With d(|x| psi) / dx = a w + b x, w the unit class weight, the reference implementation
        divides a and b by (a^2 + b^2)^(1/2); lambda blends the result with w.
        """
        embeddings, norms = context.embeddings, context.norms[:, 0]
        cos_theta = ops.stop_gradient(target / norms)
        value = psi(cos_theta, self.m)
        (a,) = vector_jacobian(lambda c: psi(c, self.m), [cos_theta], ops.ones_like(cos_theta))
        a, b = ops.stop_gradient(a), ops.stop_gradient((value - cos_theta * a) / norms)
        length = ops.sqrt(ops.square(a) + ops.square(b))
        weights = target_weights(context, labels)
        along_weight = ops.sum(embeddings * weights, axis=1) / l2_norm(weights)[:, 0]
        along_embedding = ops.sum(ops.square(embeddings), axis=1) / 2.0
        annealing_lambda = annealing.annealing_lambda(context.step, self.annealing)
        share = 1.0 / (1.0 + ops.cast(annealing_lambda, self.compute_dtype))
        # The slope of "detached" is w; a and b replace it, by the margin's share.
        term = share * ((a / length - 1.0) * along_weight + b / length * along_embedding)
        return term - ops.stop_gradient(term)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["scale"]
        # With the gamma that `total_steps` has led to: a loaded head anneals as the saved one.
        return {
            **config,
            "m": self.m,
            **self.annealing._asdict(),
            "total_steps": self.total_steps,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
