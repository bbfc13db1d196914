"""`Triplet`: embeddings at unit length, trained by triplets of the batch, without classes."""

from typing import Any

import keras

from keras_sphereface.backend import Tensor, dtype_of, matmul, ops
from keras_sphereface.distribute.collectives import ReplicaSlice
from keras_sphereface.functional.norms import l2_norm, l2_normalize
from keras_sphereface.heads.base import Head, Shape
from keras_sphereface.losses.context import HeadContext, HeadOutput
from keras_sphereface.losses.labels import checked_labels
from keras_sphereface.losses.triplet import triplet_hard_loss, triplet_semi_hard_loss
from keras_sphereface.utils.validation import check_choice, check_real

MININGS = ("semi-hard", "hard")


@keras.saving.register_keras_serializable(package="keras_sphereface")
class Triplet(Head):
    """Embeddings (B, D) -> the same at unit length, trained by triplets of the batch; no classes.

    The distance to images of other identities must exceed that of a pair of one identity by `m`.
    "semi-hard", in squared distances of unit vectors (0 to 4): the negative is the nearest image
    of another identity that is farther than the positive, else the farthest; a mean over the
    pairs. "hard", in distances (0 to 2), since with squared ones a network may map all faces to
    one point: for each image the farthest positive and the nearest negative; a mean over the
    images. Batches must hold several identities with several images each (`images_per_identity`
    of the pipeline): the loss is 0 where no identity has two. It stays at m where all faces are
    mapped to one point. On several devices the triplets are those of the global batch.

    A prediction is correct where the nearest other image of the batch is of the same identity,
    and the target cosine is to the mean direction of the identity's other images in the batch.
    Keras' own accuracy has no meaning: the outputs are no logits.

    Args:
        num_classes: Int >= 2. C, by which labels are checked.
        m: Float in [0, 4], with "hard" in [0, 2]. The margin.
        mining: "semi-hard" or "hard".
        dtype: float32 (the default, also under a mixed policy) or float64.
        **kwargs: `name` and `trainable`, as for any Keras layer.

    Raises:
        TypeError, ValueError: If an argument is out of range.

    Reference: Schroff et al., "FaceNet", CVPR 2015 (semi-hard); Hermans et al., "In Defense of
    the Triplet Loss for Person Re-Identification", 2017 (hard).

    Example:
        >>> head = Triplet(num_classes=2, m=0.2, mining="hard")
        >>> embeddings = np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 1.0]], "float32")
        >>> np.asarray(head.compute_losses(embeddings, [0, 0, 1]).correct).tolist()
        [True, True, False]
    """

    needs_global_batch = True
    collapse_message = "m", "all faces are mapped to about one point"

    def __init__(
        self,
        num_classes: int,
        m: float = 0.2,
        mining: str = "semi-hard",
        dtype: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_classes, dtype=dtype, **kwargs)
        self.mining = check_choice(mining, "mining", MININGS)
        self.m = check_real(m, "m", 0.0, 2.0 if mining == "hard" else 4.0)

    @property
    def uninformative_loss(self) -> float | None:
        return self.m or None

    def outputs_of(self, context: HeadContext) -> tuple[Tensor, HeadContext]:
        return context.rows, context

    def context(
        self, embeddings: Tensor, step: Tensor | None = None, training: bool = False
    ) -> HeadContext:
        embeddings, step = self.prepare(embeddings, step)
        norms = l2_norm(embeddings)
        return HeadContext(embeddings, norms, embeddings / norms, step, training)

    def losses_of(self, context: HeadContext, labels: Tensor) -> HeadOutput:
        rows, dtype = context.rows, dtype_of(context.rows)
        labels, valid = checked_labels(labels, self.num_classes, ops.shape(rows)[0])
        replica = ReplicaSlice.of(labels)
        global_rows, global_labels = replica.gather(rows), replica.gather(labels)
        loss = self.triplet_loss(global_labels, global_rows)
        losses = ops.where(valid, loss, float("nan") * ops.ones_like(rows[:, 0]))
        cosines = matmul(rows, global_rows, transpose_b=True)
        itself = replica.cut(ops.eye(ops.shape(global_rows)[0], dtype=dtype))
        nearest = ops.argmax(cosines - 4.0 * itself, axis=1)
        positives = ops.cast(labels[:, None] == global_labels[None, :], dtype) - itself
        mean_direction = l2_normalize(ops.matmul(positives, global_rows))
        return HeadOutput(
            losses=losses,
            correct=ops.take(global_labels, nearest, axis=0) == labels,
            target_cosine=ops.sum(rows * mean_direction, axis=1),
        )

    def triplet_loss(self, labels: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of a global batch of unit embeddings, (B,) and (B, D) -> a scalar."""
        if self.mining == "hard":
            loss = triplet_hard_loss(labels, rows, self.m, distance_metric="L2")
        else:
            loss = triplet_semi_hard_loss(labels, rows, self.m, distance_metric="squared-L2")
        same = labels[:, None] == labels[None, :]
        has_pair = ops.sum(ops.cast(same, "int32")) > ops.shape(labels)[0]
        return ops.where(has_pair, loss, ops.zeros_like(loss))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "m": self.m, "mining": self.mining}
