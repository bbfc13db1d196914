"""`SoftmaxContrastive`: softmax and a contrastive loss over the pairs of the batch."""

from typing import Any

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor, dtype_of, ops
from keras_sphereface.functional.distances import off_diagonal, pairwise_distances
from keras_sphereface.functional.norms import l2_normalize
from keras_sphereface.heads._class_weights import ClassWeightArguments
from keras_sphereface.heads.softmax import PlainSoftmax
from keras_sphereface.losses.context import HeadContext
from keras_sphereface.losses.contrastive import contrastive_losses
from keras_sphereface.utils.validation import check_real


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SoftmaxContrastive(PlainSoftmax):
    """Plain softmax, and a contrastive loss over the pairs of the batch.

    `term_weight` times

        (mean of d^2 over pairs of one identity
         + mean of max(m - d, 0)^2 over pairs of two identities) / 2

    is added to the loss of every sample, d being the distance of embeddings at unit length, from
    0 to 2. Both kinds of pairs have the same weight, whatever their number. A kind that is not in
    the batch counts 0, so batches should hold several images of an identity
    (`images_per_identity` of the pipeline). Unlike in the paper, embeddings are of unit length,
    all pairs of the batch count, and m does not change. On several devices the pairs are those
    of the global batch.

    Args:
        num_classes: Int >= 2. C, the number of classes.
        m: Float in [0, 2]. The margin.
        term_weight: Float >= 0. Weight of the contrastive term.
        **kwargs: Further arguments as for `PlainSoftmax`.

    Reference: Sun et al., "Deep Learning Face Representation by Joint Identification-
    Verification" (DeepID2), NIPS 2014, equations 1 and 2.

    Example:
        >>> head = SoftmaxContrastive(num_classes=3, m=1.0)
        >>> round(float(head.pair_loss(np.eye(2), np.array([0, 0]))), 5)  # (sqrt 2)^2 / 2
        1.0
    """

    has_margin = True
    needs_global_batch = True

    def __init__(
        self,
        num_classes: int,
        m: float = 1.0,
        term_weight: float = 1.0,
        **kwargs: Unpack[ClassWeightArguments],
    ):
        super().__init__(num_classes, **kwargs)
        self.m = check_real(m, "m", 0.0, 2.0)
        self.term_weight = check_real(term_weight, "term_weight", 0.0)

    @property
    def uninformative_loss(self) -> float | None:
        return None

    def sample_losses(
        self, target: Tensor, negatives: Tensor, labels: Tensor, context: HeadContext
    ) -> Tensor:
        losses = super().sample_losses(target, negatives, labels, context)
        return losses + self.term_weight * self.pair_loss(*context.global_batch(labels))

    def pair_loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the contrastive term of a global batch, (B, D) and (B,) -> a scalar."""
        rows = l2_normalize(embeddings)
        same = labels[:, None] == labels[None, :]
        distances = ops.reshape(pairwise_distances(rows), [-1])
        losses = contrastive_losses(ops.reshape(same, [-1]), distances, self.m)
        losses = ops.reshape(losses, ops.shape(same))
        masks = [ops.cast(mask, dtype_of(rows)) for mask in (same & off_diagonal(rows), ~same)]
        means = [ops.divide_no_nan(ops.sum(losses * mask), ops.sum(mask)) for mask in masks]
        return sum(means) / 2.0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m, "term_weight": self.term_weight}
