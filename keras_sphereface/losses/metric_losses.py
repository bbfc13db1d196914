"""Losses on distances instead of classes: contrastive and triplet, as TensorFlow Addons has them.

TensorFlow Addons ended in 2024 and does not run beside Keras 3, so the three losses are written
here from their papers. `contrastive`, `triplet_semi_hard` and `triplet_hard` give TensorFlow
Addons' where it is installed beside Keras 2.15, and these elsewhere. Where both run they agree to
rounding, values and gradients, but for these:

- a batch without a positive pair: semi-hard is 0 here and nan there, with its gradient;
- `soft=True` and d_ap - d_an above 88: that number here, infinite there;
- triplets of float64 embeddings: computed in float64 here, an error there;
- triplets by "angular" with a zero embedding: its gradient, of the order of 1e5, differs.

A *positive* of an anchor is another sample of its class, a *negative* one of another class.
"""

import importlib.metadata
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_sphereface.utils.compat import addons_losses, loss_config
from keras_sphereface.utils.validation import check_real

METRICS = ("L2", "squared-L2", "angular")


def check_metric(distance_metric: str) -> str:
    """Return `distance_metric` if it is the name of one; raise otherwise."""
    if distance_metric not in METRICS:
        raise ValueError(
            f"`distance_metric` must be one of {', '.join(METRICS)}. "
            f"Received: distance_metric={distance_metric!r}"
        )
    return distance_metric


def pairwise_distances(embeddings: tf.Tensor, distance_metric: str = "L2") -> tf.Tensor:
    """The distance of each embedding to each: (B, D) -> (B, B), float32 or float64.

    Gradients are finite everywhere. That of an "L2" distance of 0 is 0. That of an "angular"
    distance of a zero embedding may be as large as 1e6.

    The squares of the distances come from one matrix product and carry its rounding: about 1e-7
    times the square of the longer norm in float32. Two embeddings that are all but equal may so
    have a distance of some 1e-4 of their norm; one to itself has exactly 0.

    Args:
        embeddings: (B, D) of any float dtype; half precision is computed in float32.
        distance_metric: "L2", "squared-L2", or "angular", which is 1 - cos(theta), from 0 to 2.

    Raises:
        ValueError: if `distance_metric` is none of these.
    """
    check_metric(distance_metric)
    embeddings = _precise(embeddings)
    if distance_metric == "angular":
        unit = tf.math.l2_normalize(embeddings, axis=1)
        return 1.0 - tf.matmul(unit, unit, transpose_b=True)
    squared_norms = tf.reduce_sum(tf.square(embeddings), axis=1)
    products = tf.matmul(embeddings, embeddings, transpose_b=True)
    squared = squared_norms[:, None] - 2.0 * products + squared_norms[None, :]
    # Rounding may lead below 0, and away from 0 on the diagonal.
    squared = tf.where(_others(embeddings), tf.maximum(squared, 0.0), 0.0)
    return squared if distance_metric == "squared-L2" else _root(squared)


def _root(squared):
    """Square roots of numbers >= 0; the gradient at 0 is 0, where the plain one is infinite."""
    # Not squared > 0, by which a nan would come out as a distance of 0.
    zero = tf.equal(squared, 0.0)
    root = tf.sqrt(tf.where(zero, tf.ones_like(squared), squared))
    return tf.where(zero, tf.zeros_like(root), root)


def _precise(tensor):
    """float64 as it is, anything else as float32."""
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)


def _relations(labels, embeddings):
    """Whether sample j is a positive of anchor i, and whether a negative: (B, B) each."""
    labels = tf.reshape(labels, tf.shape(embeddings)[:1])
    same = labels[:, None] == labels[None, :]
    return same & _others(embeddings), ~same


def _others(embeddings):
    """All of (B, B) but the diagonal."""
    # Not `tf.linalg.set_diag`, whose gradient XLA cannot compile for an unknown batch size.
    return ~tf.eye(tf.shape(embeddings)[0], dtype=tf.bool)


def contrastive_losses(is_same: tf.Tensor, distances: tf.Tensor, margin: float = 1.0) -> tf.Tensor:
    """d^2 of a pair of one person, max(margin - d, 0)^2 of a pair of two.

    Args:
        is_same: (P,) or (P, 1) of any dtype, 1 for the same person and 0 for two.
        distances: (P,) or (P, 1), >= 0, of any float dtype.
        margin: the distance from which on two people cost nothing.

    Returns:
        (P,), of the dtype of `distances`.

    Reference: Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant
    Mapping", CVPR 2006, equation 4 without its halves and with 1 for the same person, not 0.
    """
    distances = tf.reshape(distances, [-1])
    is_same = tf.reshape(tf.cast(is_same, distances.dtype), tf.shape(distances))
    apart = tf.maximum(tf.cast(margin, distances.dtype) - distances, 0.0)
    return is_same * tf.square(distances) + (1.0 - is_same) * tf.square(apart)


def triplet_semi_hard_loss(
    labels: tf.Tensor, embeddings: tf.Tensor, margin: float = 1.0, distance_metric: str = "L2"
) -> tf.Tensor:
    """The mean over all pairs (anchor, positive) of max(d_ap - d_an + margin, 0).

    The negative of a pair is the nearest of those farther from the anchor than the positive is;
    where there is none, the farthest of all. d_an is 0 for an anchor without a negative, and the
    loss of a batch without a positive pair is 0.

    The negatives of each anchor are ranked, so that no array has more than B^2 numbers: a batch of
    512 takes a few MB, where comparing all triplets would take 512 MB an array.

    Args:
        labels: (B,) or (B, 1) of any dtype that tells the classes apart.
        embeddings: (B, D).
        margin: by how much farther the negative must be for the pair to cost nothing.
        distance_metric: as in `pairwise_distances`.

    Returns:
        a scalar, of the dtype of `embeddings`.

    Reference: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, section 3.2.
    """
    embeddings = tf.convert_to_tensor(embeddings)
    positive, negative = _relations(labels, embeddings)
    distances = pairwise_distances(embeddings, distance_metric)  # (B, B)
    to_negative = _semi_hard_negatives(distances, negative)  # (B, B)
    losses = tf.maximum(distances - to_negative + margin, 0.0)
    total = tf.reduce_sum(tf.where(positive, losses, 0.0))
    count = tf.reduce_sum(tf.cast(positive, losses.dtype))
    return tf.cast(tf.math.divide_no_nan(total, count), embeddings.dtype)


def _semi_hard_negatives(distances, negative):
    """Of anchor i, the distance of the nearest negative farther than sample j: (B, B).

    Where none is farther it is that of the farthest negative, and 0 where there is none at all.
    Negatives at the same distance share the gradient.
    """
    size = tf.shape(distances)[0]
    fixed = tf.stop_gradient(distances)
    # The negatives of each anchor by distance, the other samples behind them.
    ranked = tf.sort(tf.where(negative, fixed, fixed.dtype.max), axis=1)
    # Equal distances meet at the first of their places, as the mean of them.
    place = tf.searchsorted(ranked, fixed, side="left")
    segments = tf.where(negative, size * tf.range(size)[:, None] + place, -1)
    means = tf.math.unsorted_segment_mean(distances, segments, size * size)
    farther = tf.searchsorted(ranked, fixed, side="right")
    count = tf.reduce_sum(tf.cast(negative, tf.int32), axis=1, keepdims=True)
    nearest = tf.gather(
        tf.reshape(means, tf.shape(distances)), tf.minimum(farther, size - 1), batch_dims=1
    )
    farthest = tf.reduce_max(tf.where(negative, distances, 0.0), axis=1, keepdims=True)
    return tf.where(farther < count, nearest, farthest)


def triplet_hard_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    margin: float = 1.0,
    soft: bool = False,
    distance_metric: str = "L2",
) -> tf.Tensor:
    """The mean over the anchors of max(d_ap - d_an + margin, 0), the hardest of each.

    p is the farthest positive and n the nearest negative. d_ap is 0 for an anchor without a
    positive, and d_ap - d_an is 0 for one without a negative: both count in the mean.

    Args:
        labels: (B,) or (B, 1) of any dtype that tells the classes apart.
        embeddings: (B, D).
        margin: by how much farther the negative must be for the anchor to cost nothing.
        soft: take log(1 + exp(d_ap - d_an)) instead, which needs no margin.
        distance_metric: as in `pairwise_distances`.

    Returns:
        a scalar, of the dtype of `embeddings`.

    Reference: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person
    Re-Identification", 2017, equation 5.
    """
    embeddings = tf.convert_to_tensor(embeddings)
    positive, negative = _relations(labels, embeddings)
    distances = pairwise_distances(embeddings, distance_metric)  # (B, B)
    to_positive = tf.reduce_max(tf.where(positive, distances, 0.0), axis=1)  # (B,)
    to_negative = tf.reduce_min(tf.where(negative, distances, distances.dtype.max), axis=1)
    gaps = tf.where(tf.reduce_any(negative, axis=1), to_positive - to_negative, 0.0)
    losses = tf.math.softplus(gaps) if soft else tf.maximum(gaps + margin, 0.0)
    return tf.cast(tf.reduce_mean(losses), embeddings.dtype)


class _MetricLoss(keras.losses.Loss):
    """What the three have in common: a margin, and a configuration that holds all arguments."""

    def __init__(self, margin, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = check_real(margin, "margin", 0.0)

    def get_config(self):
        return {**super().get_config(), **loss_config(self), "margin": self.margin}


class _TripletLoss(_MetricLoss):
    """What the two have in common that compare embeddings: a distance."""

    def __init__(self, margin, distance_metric, name, **kwargs):
        super().__init__(margin, name, **kwargs)
        self.distance_metric = check_metric(distance_metric)

    def get_config(self):
        return {**super().get_config(), "distance_metric": self.distance_metric}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ContrastiveLoss(_MetricLoss):
    """`contrastive_losses`: `y_true` says which pairs are of one person, `y_pred` is distances.

    Args:
        margin: a number >= 0.
        name: the loss's name.
        **kwargs: as for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: if `margin` is not a number >= 0.
    """

    def __init__(self, margin: float = 1.0, name: str = "contrastive_loss", **kwargs):
        super().__init__(margin, name, **kwargs)

    def call(self, y_true, y_pred):
        return contrastive_losses(y_true, y_pred, self.margin)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class TripletSemiHardLoss(_TripletLoss):
    """`triplet_semi_hard_loss`: `y_true` is labels, `y_pred` embeddings; one value a batch.

    Args:
        margin: a number >= 0.
        distance_metric: "L2", "squared-L2" or "angular".
        name: the loss's name.
        **kwargs: as for `keras.losses.Loss`. Sample weights make no sense for it.

    Raises:
        TypeError, ValueError: if `margin` is not a number >= 0, or `distance_metric` no name
            of one.
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: str = "L2",
        name: str = "triplet_semi_hard_loss",
        **kwargs,
    ):
        super().__init__(margin, distance_metric, name, **kwargs)

    def call(self, y_true, y_pred):
        return triplet_semi_hard_loss(y_true, y_pred, self.margin, self.distance_metric)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class TripletHardLoss(_TripletLoss):
    """`triplet_hard_loss`: `y_true` is labels, `y_pred` embeddings; one value a batch.

    Args:
        margin: a number >= 0; it does not count where `soft` is set.
        soft: take a soft margin.
        distance_metric: "L2", "squared-L2" or "angular".
        name: the loss's name.
        **kwargs: as for `keras.losses.Loss`. Sample weights make no sense for it.

    Raises:
        TypeError, ValueError: if `margin` is not a number >= 0, or `distance_metric` no name
            of one.
    """

    def __init__(
        self,
        margin: float = 1.0,
        soft: bool = False,
        distance_metric: str = "L2",
        name: str = "triplet_hard_loss",
        **kwargs,
    ):
        super().__init__(margin, distance_metric, name, **kwargs)
        self.soft = bool(soft)

    def call(self, y_true, y_pred):
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance_metric)

    def get_config(self):
        return {**super().get_config(), "soft": self.soft}


class Implementation(NamedTuple):
    """Three classes of losses and where they are from."""

    name: str  # for tables: "TensorFlow Addons 0.23.0", or "keras_sphereface"
    contrastive: type[keras.losses.Loss]
    triplet_semi_hard: type[keras.losses.Loss]
    triplet_hard: type[keras.losses.Loss]


# Called where a training step is traced, and nothing in it is of TensorFlow.
@tf.autograph.experimental.do_not_convert
def implementation() -> Implementation:
    """TensorFlow Addons' losses where it is installed and runs, else those of this module."""
    addons = addons_losses()
    if addons is None:
        name, source = "keras_sphereface", _OWN
    else:
        version = importlib.metadata.version("tensorflow-addons")
        name = f"TensorFlow Addons {version}"
        source = (addons.ContrastiveLoss, addons.TripletSemiHardLoss, addons.TripletHardLoss)
    return Implementation(name, *source)


_OWN = (ContrastiveLoss, TripletSemiHardLoss, TripletHardLoss)


def contrastive(margin: float = 1.0) -> keras.losses.Loss:
    """A contrastive loss; `loss.call(is_same, distances)` is (P,) of (P,) and (P,)."""
    margin = check_real(margin, "margin", 0.0)
    return implementation().contrastive(margin=margin)


def triplet_semi_hard(margin: float = 1.0, distance_metric: str = "L2") -> keras.losses.Loss:
    """A semi-hard triplet loss; `loss.call(labels, embeddings)` is a scalar of (B,), (B, D)."""
    margin, metric = check_real(margin, "margin", 0.0), check_metric(distance_metric)
    return implementation().triplet_semi_hard(margin=margin, distance_metric=metric)


def triplet_hard(
    margin: float = 1.0, soft: bool = False, distance_metric: str = "L2"
) -> keras.losses.Loss:
    """A hard triplet loss; `loss.call(labels, embeddings)` is a scalar of (B,), (B, D)."""
    margin, metric = check_real(margin, "margin", 0.0), check_metric(distance_metric)
    return implementation().triplet_hard(margin=margin, soft=soft, distance_metric=metric)
