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
import numpy as np

from keras_sphereface.backend import Tensor, dtype_of, ops, search_rows
from keras_sphereface.functional.distances import DISTANCES, off_diagonal, pairwise_distances
from keras_sphereface.utils.compat import loss_config
from keras_sphereface.utils.validation import check_choice, check_real


def triplet_semi_hard_loss(
    labels: Tensor, embeddings: Tensor, margin: float = 1.0, distance_metric: str = "L2"
) -> Tensor:
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
        >>> embeddings = np.array([[0.0], [1.0], [3.0]])
        >>> float(triplet_semi_hard_loss([0, 0, 1], embeddings, margin=2.0))
        0.5
    """
    embeddings = ops.convert_to_tensor(embeddings)
    positive, negative = _relations(labels, embeddings)
    distances = pairwise_distances(embeddings, distance_metric)  # (B, B)
    to_negative = _semi_hard_negatives(distances, negative)  # (B, B)
    losses = ops.maximum(distances - to_negative + margin, 0.0)
    total = ops.sum(ops.where(positive, losses, ops.zeros_like(losses)))
    count = ops.sum(ops.cast(positive, dtype_of(losses)))
    return ops.cast(ops.divide_no_nan(total, count), dtype_of(embeddings))


def _relations(labels: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (B, B): sample j is a positive of anchor i; sample j is a negative of it."""
    labels = ops.reshape(ops.convert_to_tensor(labels), [ops.shape(embeddings)[0]])
    same = labels[:, None] == labels[None, :]
    return same & off_diagonal(embeddings), ~same


def _semi_hard_negatives(distances: Tensor, negative: Tensor) -> Tensor:
    """Of anchor i, the distance of the nearest negative farther than sample j: (B, B).

    Where none is farther it is that of the farthest negative, and 0 where there is none at all.
    Negatives at the same distance share the gradient.
    """
    size, fixed = ops.shape(distances)[0], ops.stop_gradient(distances)
    # The negatives of each anchor by distance, the other samples behind them.
    ranked = ops.sort(ops.where(negative, fixed, _largest(fixed)), axis=1)
    # Equal distances meet at the first of their ranks, as the mean of them.
    rank = search_rows(ranked, fixed, "left")
    anchors = ops.arange(size, dtype="int32")[:, None]
    # What is no negative goes to one rank more than there are.
    segments = ops.reshape(ops.where(negative, size * anchors + rank, size * size), [-1])

    def sums(values: Tensor) -> Tensor:
        return ops.segment_sum(ops.reshape(values, [-1]), segments, size * size + 1)[: size * size]

    counts = sums(ops.ones_like(distances))
    means = ops.reshape(sums(distances) / ops.maximum(counts, 1.0), [size, size])
    farther = search_rows(ranked, fixed, "right")
    count = ops.sum(ops.cast(negative, "int32"), axis=1, keepdims=True)
    nearest = ops.take_along_axis(means, ops.minimum(farther, size - 1), axis=1)
    farthest = ops.max(
        ops.where(negative, distances, ops.zeros_like(distances)), axis=1, keepdims=True
    )
    return ops.where(farther < count, nearest, farthest)


def _largest(tensor: Tensor) -> Tensor:
    return ops.ones_like(tensor) * float(np.finfo(dtype_of(tensor)).max)


def triplet_hard_loss(
    labels: Tensor,
    embeddings: Tensor,
    margin: float = 1.0,
    soft: bool = False,
    distance_metric: str = "L2",
) -> Tensor:
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
        >>> embeddings = np.array([[0.0], [1.0], [3.0]])
        >>> round(float(triplet_hard_loss([0, 0, 1], embeddings, margin=3.0)), 2)
        1.33
    """
    embeddings = ops.convert_to_tensor(embeddings)
    positive, negative = _relations(labels, embeddings)
    distances = pairwise_distances(embeddings, distance_metric)  # (B, B)
    zeros = ops.zeros_like(distances)
    to_positive = ops.max(ops.where(positive, distances, zeros), axis=1)  # (B,)
    to_negative = ops.min(ops.where(negative, distances, _largest(distances)), axis=1)
    gaps = ops.where(ops.any(negative, axis=1), to_positive - to_negative, zeros[:, 0])
    losses = ops.softplus(gaps) if soft else ops.maximum(gaps + margin, 0.0)
    return ops.cast(ops.mean(losses), dtype_of(embeddings))


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
        >>> float(loss([0, 0, 1], np.array([[0.0], [1.0], [3.0]])))
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

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
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
        >>> float(loss([0, 0, 1], np.array([[0.0], [1.0], [3.0]])))
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

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "soft": self.soft}
