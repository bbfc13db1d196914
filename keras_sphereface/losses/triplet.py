"""Triplet losses on the embeddings of a batch, with the arguments of TensorFlow Addons' classes.

TensorFlow Addons ended in 2024 and does not run beside Keras 3. Beside Keras 2.15, where both
run, values and gradients of these losses and of `ContrastiveLoss` agree with it to rounding, but
for these:

- a batch without a positive pair: semi-hard is 0 here and nan there, with its gradient;
- `soft=True` and d_ap - d_an above 88: that number here, infinite there;
- triplets of float64 embeddings: computed in float64 here, an error there;
- triplets by "angular" with a zero embedding: its gradient, of the order of 1e5, differs.

A *positive* of an anchor is another sample of its class, a *negative* one of another class.
"""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.functional.distances import DISTANCES, off_diagonal, pairwise_distances
from keras_sphereface.utils.compat import loss_config
from keras_sphereface.utils.validation import check_choice, check_real


def triplet_semi_hard_loss(
    labels: tf.Tensor, embeddings: tf.Tensor, margin: float = 1.0, distance_metric: str = "L2"
) -> tf.Tensor:
    """Return the mean over all pairs (anchor, positive) of max(d_ap - d_an + margin, 0).

    The negative of a pair is the nearest of those farther from the anchor than the positive is;
    where there is none, the farthest of all. d_an is 0 for an anchor without a negative, and the
    loss of a batch without a positive pair is 0.

    The negatives of each anchor are ranked, so that no array has more than B^2 numbers: a batch of
    512 takes a few MB, where comparing all triplets would take 512 MB an array.

    Args:
        labels: (B,) or (B, 1), class ids of any dtype.
        embeddings: (B, D) of any float dtype.
        margin: Difference of distances from which on a pair has no loss.
        distance_metric: "L2", "squared-L2" or "angular"; see `pairwise_distances`.

    Returns:
        A scalar of the dtype of `embeddings`.

    Reference: Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, section 3.2.

    Example:
        >>> embeddings = tf.constant([[0.0], [1.0], [3.0]])
        >>> float(triplet_semi_hard_loss([0, 0, 1], embeddings, margin=2.0))
        0.5
    """
    embeddings = tf.convert_to_tensor(embeddings)
    positive, negative = _relations(labels, embeddings)
    distances = pairwise_distances(embeddings, distance_metric)  # (B, B)
    to_negative = _semi_hard_negatives(distances, negative)  # (B, B)
    losses = tf.maximum(distances - to_negative + margin, 0.0)
    total = tf.reduce_sum(tf.where(positive, losses, 0.0))
    count = tf.reduce_sum(tf.cast(positive, losses.dtype))
    return tf.cast(tf.math.divide_no_nan(total, count), embeddings.dtype)


def _relations(labels: tf.Tensor, embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Masks (B, B): sample j is a positive of anchor i; sample j is a negative of it."""
    labels = tf.reshape(labels, tf.shape(embeddings)[:1])
    same = labels[:, None] == labels[None, :]
    return same & off_diagonal(embeddings), ~same


def _semi_hard_negatives(distances: tf.Tensor, negative: tf.Tensor) -> tf.Tensor:
    """Of anchor i, the distance of the nearest negative farther than sample j: (B, B).

    Where none is farther it is that of the farthest negative, and 0 where there is none at all.
    Negatives at the same distance share the gradient.
    """
    size = tf.shape(distances)[0]
    fixed = tf.stop_gradient(distances)
    # The negatives of each anchor by distance, the other samples behind them.
    ranked = tf.sort(tf.where(negative, fixed, fixed.dtype.max), axis=1)
    # Equal distances meet at the first of their ranks, as the mean of them.
    rank = tf.searchsorted(ranked, fixed, side="left")
    segments = tf.where(negative, size * tf.range(size)[:, None] + rank, -1)
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
    """Return the mean over the anchors of max(d_ap - d_an + margin, 0), the hardest of each.

    p is the farthest positive and n the nearest negative. d_ap is 0 for an anchor without a
    positive, and d_ap - d_an is 0 for one without a negative: both count in the mean.

    Args:
        labels: (B,) or (B, 1), class ids of any dtype.
        embeddings: (B, D) of any float dtype.
        margin: Difference of distances from which on an anchor has no loss.
        soft: Take log(1 + exp(d_ap - d_an)) instead, which needs no margin.
        distance_metric: "L2", "squared-L2" or "angular"; see `pairwise_distances`.

    Returns:
        A scalar of the dtype of `embeddings`.

    Reference: Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person
    Re-Identification", 2017, equation 5.

    Example:
        >>> embeddings = tf.constant([[0.0], [1.0], [3.0]])
        >>> round(float(triplet_hard_loss([0, 0, 1], embeddings, margin=3.0)), 2)
        1.33
    """
    embeddings = tf.convert_to_tensor(embeddings)
    positive, negative = _relations(labels, embeddings)
    distances = pairwise_distances(embeddings, distance_metric)  # (B, B)
    to_positive = tf.reduce_max(tf.where(positive, distances, 0.0), axis=1)  # (B,)
    to_negative = tf.reduce_min(tf.where(negative, distances, distances.dtype.max), axis=1)
    gaps = tf.where(tf.reduce_any(negative, axis=1), to_positive - to_negative, 0.0)
    losses = tf.math.softplus(gaps) if soft else tf.maximum(gaps + margin, 0.0)
    return tf.cast(tf.reduce_mean(losses), embeddings.dtype)


class _TripletLoss(keras.losses.Loss):
    """Arguments that both triplet losses have."""

    def __init__(self, margin: float, distance_metric: str, name: str, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.margin = check_real(margin, "margin", 0.0)
        self.distance_metric = check_choice(distance_metric, "distance_metric", DISTANCES)

    def get_config(self) -> dict[str, Any]:
        own = {"margin": self.margin, "distance_metric": self.distance_metric}
        return {**super().get_config(), **loss_config(self), **own}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class TripletSemiHardLoss(_TripletLoss):
    """`triplet_semi_hard_loss` as a Keras loss: `y_true` is labels, `y_pred` embeddings.

    It is one value a batch, so sample weights have no meaning.

    Args:
        margin: Float >= 0.
        distance_metric: "L2", "squared-L2" or "angular".
        name: String. Name of the loss.
        **kwargs: As for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: If `margin` is not a number >= 0, or `distance_metric` is none of
            these.

    Example:
        >>> loss = TripletSemiHardLoss(margin=2.0)
        >>> float(loss([0, 0, 1], tf.constant([[0.0], [1.0], [3.0]])))
        0.5
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: str = "L2",
        name: str = "triplet_semi_hard_loss",
        **kwargs: Any,
    ):
        super().__init__(margin, distance_metric, name, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return triplet_semi_hard_loss(y_true, y_pred, self.margin, self.distance_metric)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class TripletHardLoss(_TripletLoss):
    """`triplet_hard_loss` as a Keras loss: `y_true` is labels, `y_pred` embeddings.

    It is one value a batch, so sample weights have no meaning.

    Args:
        margin: Float >= 0; it does not count where `soft` is set.
        soft: Bool. Take log(1 + exp(d_ap - d_an)).
        distance_metric: "L2", "squared-L2" or "angular".
        name: String. Name of the loss.
        **kwargs: As for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: If `margin` is not a number >= 0, or `distance_metric` is none of
            these.

    Example:
        >>> loss = TripletHardLoss(margin=2.0, distance_metric="squared-L2")
        >>> float(loss([0, 0, 1], tf.constant([[0.0], [1.0], [3.0]])))
        0.0
    """

    def __init__(
        self,
        margin: float = 1.0,
        soft: bool = False,
        distance_metric: str = "L2",
        name: str = "triplet_hard_loss",
        **kwargs: Any,
    ):
        super().__init__(margin, distance_metric, name, **kwargs)
        self.soft = bool(soft)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "soft": self.soft}
