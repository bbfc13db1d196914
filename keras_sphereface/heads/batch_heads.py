"""Heads whose loss looks at the batch as a whole: what A-Softmax was compared with.

The paper's tables hold softmax with a contrastive term, softmax with a center term, and
triplets. Here they are heads like those of the family, for the same networks, data and
training. On several devices the embeddings of all are gathered, so that the loss is that of
the global batch whatever their number. The contrastive and the triplet losses are those of
TensorFlow Addons where it is installed, and `metric_losses` elsewhere.
"""

import keras
import tensorflow as tf

from keras_sphereface.distribute.collectives import ReplicaSlice
from keras_sphereface.functional.norms import l2_norm
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.family import PlainSoftmax
from keras_sphereface.losses import metric_losses
from keras_sphereface.losses.head_loss import (
    HeadContext,
    HeadOutput,
    checked_labels,
    context_of,
    leave_context,
)
from keras_sphereface.utils.compat import add_replicated_weight
from keras_sphereface.utils.validation import check_choice, check_real

# How triplets are found, and the distance that the authors of each took.
MINING = {"semi-hard": "squared-L2", "hard": "L2"}


def unit_rows(embeddings: tf.Tensor) -> tf.Tensor:
    """Embeddings (B, D) at unit length; zero stays zero."""
    return embeddings / l2_norm(embeddings)


def global_batch(context: HeadContext, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeddings (B, D) and labels (B,) of the global batch, in the order of the replicas."""
    if context.part is not None:  # gathered already
        return context.embeddings, labels
    own = ReplicaSlice.of(labels)
    return own.gather(context.embeddings), own.gather(labels)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SoftmaxContrastive(PlainSoftmax):
    """Plain softmax, and a contrastive loss over the pairs of the batch.

    To the loss of every sample comes `term_weight` times

        (mean of d^2 over pairs of one person
         + mean of max(m - d, 0)^2 over pairs of two people) / 2,

    d being the distance of embeddings at unit length, from 0 to 2. Both kinds count alike, as
    if as many of each had been drawn. A kind that is not in the batch counts 0, so batches
    should hold several images of a person (`images_per_identity` of the pipeline). Unlike in the
    paper, embeddings are of unit length, all pairs of the batch count, and m does not change.

    Args:
        num_classes: C, an int >= 2.
        m: the margin, in [0, 2].
        term_weight: of the contrastive term, >= 0.
        **kwargs: as for `PlainSoftmax`.

    Reference: Sun et al., "Deep Learning Face Representation by Joint Identification-
    Verification" (DeepID2), NIPS 2014, equations 1 and 2.
    """

    needs_global_batch = True

    def __init__(self, num_classes: int, m: float = 1.0, term_weight: float = 1.0, **kwargs):
        super().__init__(num_classes, **kwargs)
        self.m = check_real(m, "m", 0.0, 2.0)
        self.term_weight = check_real(term_weight, "term_weight", 0.0)

    @property
    def uninformative_loss(self):
        return None

    def sample_losses(self, own, rest, labels, context):
        losses = super().sample_losses(own, rest, labels, context)
        return losses + self.term_weight * self.pair_loss(*global_batch(context, labels))

    def pair_loss(self, embeddings: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The contrastive term of a whole batch, (B, D) and (B,) -> a scalar."""
        rows = unit_rows(embeddings)
        same = tf.cast(labels[:, None] == labels[None, :], rows.dtype)
        distances = metric_losses.pairwise_distances(rows)
        loss = metric_losses.contrastive(self.m)
        values = loss.call(tf.reshape(same, [-1]), tf.reshape(distances, [-1]))
        values = tf.reshape(values, tf.shape(same))
        matched = same - tf.eye(tf.shape(rows)[0], dtype=rows.dtype)  # no image with itself
        means = [
            tf.math.divide_no_nan(tf.reduce_sum(values * kind), tf.reduce_sum(kind))
            for kind in (matched, 1.0 - same)
        ]
        return tf.add_n(means) / 2.0

    def get_config(self):
        return {**super().get_config(), "m": self.m, "term_weight": self.term_weight}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class SoftmaxCenter(PlainSoftmax):
    """Plain softmax, and the distance of each embedding to the center of its person.

    To the loss of a sample comes `term_weight` / 2 |x - c_y|^2. The centers (C, D) are no trainable
    weights. A call with `training=True` and labels moves the centers of the people in the
    batch, after their distances were taken, by

        `center_rate` (sum of (x_i - c_j) over the n_j images of person j) / (1 + n_j).

    Every device holds all centers, also of classes that are split, and each step reads and writes
    them all. The loss must be computed once a step: as a metric beside itself it would move the
    centers twice.

    Args:
        num_classes: C, an int >= 2.
        term_weight: of the center term, >= 0.
        center_rate: in [0, 1].
        **kwargs: as for `PlainSoftmax`.

    Reference: Wen et al., "A Discriminative Feature Learning Approach for Deep Face
    Recognition", ECCV 2016, equations 2 to 5.
    """

    needs_global_batch = True
    extra_slots = 3  # the centers, and two of their size while they are moved

    def __init__(
        self, num_classes: int, term_weight: float = 0.003, center_rate: float = 0.5, **kwargs
    ):
        super().__init__(num_classes, **kwargs)
        self.term_weight = check_real(term_weight, "term_weight", 0.0)
        self.center_rate = check_real(center_rate, "center_rate", 0.0, 1.0)

    def build_shared(self, input_shape):
        super().build_shared(input_shape)
        self.centers = add_replicated_weight(
            self, "centers", (self.num_classes, input_shape[-1]), self.compute_dtype
        )

    @property
    def uninformative_loss(self):
        return None

    def sample_losses(self, own, rest, labels, context):
        losses = super().sample_losses(own, rest, labels, context)
        centers = tf.convert_to_tensor(self.centers)
        offsets = context.embeddings - tf.gather(centers, labels)
        if context.training:
            self._move_centers(centers, *global_batch(context, labels))
        return losses + self.term_weight / 2.0 * tf.reduce_sum(tf.square(offsets), axis=1)

    def _move_centers(self, centers, embeddings, labels):
        def total(rows):
            return tf.math.unsorted_segment_sum(rows, labels, self.num_classes)

        offsets = tf.stop_gradient(embeddings) - tf.gather(centers, labels)
        counts = total(tf.ones_like(offsets[:, :1]))  # (C, 1)
        self.centers.assign(centers + self.center_rate * total(offsets) / (1.0 + counts))

    def get_config(self):
        return {
            **super().get_config(),
            "term_weight": self.term_weight,
            "center_rate": self.center_rate,
        }


@keras.saving.register_keras_serializable(package="keras_sphereface")
class Triplet(Head):
    """Embeddings (B, D) -> the same at unit length, trained by triplets of the batch; no classes.

    Each pair of images of one person asks that images of others lie farther off by `m`.
    "semi-hard", in squared distances of unit vectors (0 to 4): the nearest image of somebody
    else that is farther off than the second image, else the farthest of somebody else; a mean
    over the pairs. "hard", in distances (0 to 2), since with squared ones a network may map all
    faces to one point: for each image the farthest of the same person and the nearest of
    somebody else; a mean over the images. Batches must hold several people with several
    images each (`images_per_identity` of the pipeline): the loss is 0 where no person has two. It
    stays at m where all faces are mapped to one point.

    Right answers are those where the nearest other image of the batch is of the same person,
    and the target cosine is to the mean direction of the person's other images in the batch.
    Keras' own accuracy means nothing here: the outputs are no logits.

    Args:
        num_classes: C, an int >= 2, by which labels are checked.
        m: the margin, in [0, 4], with "hard" in [0, 2].
        mining: "semi-hard" or "hard".
        dtype: float32 (the default, also under a mixed policy) or float64.

    Raises:
        TypeError, ValueError: if an argument is out of range.

    Reference: Schroff et al., "FaceNet", CVPR 2015 (semi-hard); Hermans et al., "In Defense of
    the Triplet Loss for Person Re-Identification", 2017 (hard).
    """

    needs_global_batch = True
    collapse_message = "m", "all faces are mapped to about one point"

    def __init__(self, num_classes: int, m: float = 0.2, mining: str = "semi-hard", **kwargs):
        super().__init__(num_classes, **kwargs)
        self.mining = check_choice(mining, "mining", tuple(MINING))
        self.m = check_real(m, "m", 0.0, 2.0 if mining == "hard" else 4.0)

    @property
    def uninformative_loss(self):
        return self.m or None

    def call_at_step(self, embeddings, step, training):
        norms = l2_norm(embeddings)
        rows = embeddings / norms
        context = HeadContext(
            head=self,
            embeddings=embeddings,
            norms=norms,
            rows=rows,
            kernels=[],
            biases=[],
            inverses=[],
            products=None,
            step=step,
            training=training,
        )
        return leave_context(tf.identity(rows), context)

    def compute_losses(self, labels, outputs):
        rows = context_of(outputs).rows
        labels, valid = checked_labels(labels, self.num_classes, tf.shape(outputs)[0])
        own = ReplicaSlice.of(labels)
        everyone, all_labels = own.gather(rows), own.gather(labels)
        loss = self.triplet_loss(all_labels, everyone)
        losses = tf.where(valid, loss, tf.constant(float("nan"), rows.dtype))
        cosines = tf.matmul(rows, everyone, transpose_b=True)
        itself = own.cut(tf.eye(tf.shape(everyone)[0], dtype=rows.dtype))
        nearest = tf.argmax(cosines - 4.0 * itself, axis=1)
        others = tf.cast(labels[:, None] == all_labels[None, :], rows.dtype) - itself
        mean_direction = unit_rows(tf.matmul(others, everyone))
        return HeadOutput(
            losses=losses,
            correct=tf.gather(all_labels, nearest) == labels,
            cos_theta=tf.reduce_sum(rows * mean_direction, axis=1),
        )

    def triplet_loss(self, labels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The loss of a whole batch of unit embeddings, (B,) and (B, D) -> a scalar."""
        hard, metric = self.mining == "hard", MINING[self.mining]
        same = tf.equal(labels[:, None], labels[None, :])
        has_pair = tf.math.count_nonzero(same, dtype=tf.int32) > tf.shape(labels)[0]
        # Without a pair TensorFlow Addons' semi-hard loss is nan, and so would be its gradient.
        labels = tf.where(has_pair, labels, tf.zeros_like(labels))
        if rows.dtype == tf.float64:  # an error in TensorFlow Addons
            own = metric_losses.triplet_hard_loss if hard else metric_losses.triplet_semi_hard_loss
            loss = own(labels, rows, self.m, distance_metric=metric)
        else:
            make = metric_losses.triplet_hard if hard else metric_losses.triplet_semi_hard
            loss = make(self.m, distance_metric=metric).call(labels, rows)
        return tf.where(has_pair, loss, tf.zeros_like(loss))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "m": self.m, "mining": self.mining}
