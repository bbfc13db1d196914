"""`SoftmaxCenter`: softmax and the distance of each embedding to the center of its class."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, ops, value_of
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.base import Shape
from keras_sphereface.heads.softmax import PlainSoftmax
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.utils.compat import add_replicated_weight
from keras_sphereface.utils.validation import check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SoftmaxCenter(PlainSoftmax):
    """Plain softmax, and the distance of each embedding to the center of its class.

    `term_weight` / 2 |x - c_y|^2 is added to the loss of a sample. The centers (C, D) are no
    trainable weights. A call with `training=True` and labels moves the centers of the classes in
    the batch, after their distances were taken, by

        `center_rate` (sum of (x_i - c_j) over the n_j images of class j) / (1 + n_j).

    Every device holds all centers, also where classes are sharded, and each step reads and writes
    them all. The loss must be computed once a step: as a metric beside itself it would move the
    centers twice.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        term_weight: Float >= 0. Weight of the center term.
        center_rate: Float in [0, 1]. Rate of the centers.
        **kwargs: Further arguments as for `PlainSoftmax`.

    Reference: Wen et al., "A Discriminative Feature Learning Approach for Deep Face
    Recognition", ECCV 2016, equations 2 to 5.

    Example:
        >>> head = SoftmaxCenter(num_classes=2, center_rate=1.0)
        >>> output = head.compute_losses(2.0 * np.eye(2, dtype="float32"), [0, 1], training=True)
        >>> np.asarray(head.centers).tolist()  # half of the way, as n_j = 1
        [[1.0, 0.0], [0.0, 1.0]]
    """

    has_margin = True
    needs_global_batch = True
    extra_slots = 3  # the centers, and two of their size while they are moved

    def __init__(
        self,
        num_classes: int,
        term_weight: float = 0.003,
        center_rate: float = 0.5,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, **kwargs)
        self.term_weight = check_real(term_weight, "term_weight", 0.0)
        self.center_rate = check_real(center_rate, "center_rate", 0.0, 1.0)

    def build_shared(self, input_shape: Shape) -> None:
        super().build_shared(input_shape)
        self.centers = add_replicated_weight(
            self, "centers", (self.num_classes, input_shape[-1]), self.compute_dtype
        )

    @property
    def uninformative_loss(self) -> float | None:
        return None

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        losses = super().sample_losses(target, negatives, labels, context)
        centers = value_of(self.centers)
        offsets = context.embeddings - ops.take(centers, labels, axis=0)
        if context.training:
            self._move_centers(centers, *context.global_batch(labels))
        return losses + self.term_weight / 2.0 * ops.sum(ops.square(offsets), axis=1)

    def _move_centers(self, centers: Tensor, embeddings: Tensor, labels: Tensor) -> None:
        def sum_by_class(rows: Tensor) -> Tensor:
            return ops.segment_sum(rows, labels, self.num_classes)

        offsets = ops.stop_gradient(embeddings) - ops.take(centers, labels, axis=0)
        counts = sum_by_class(ops.ones_like(offsets[:, :1]))  # (C, 1)
        moves = self.center_rate * sum_by_class(offsets) / (1.0 + counts)
        self.centers.assign(centers + moves)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "term_weight": self.term_weight,
            "center_rate": self.center_rate,
        }
