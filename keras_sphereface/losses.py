"""`ASoftmaxLoss`, and the form in which a head hands over what its loss needs.

A Keras loss sees one tensor, but A-Softmax needs three things beside the logits: the norm
|x|, the current lambda, and the m of the head. They travel as three further columns:

    [ |x| cos(theta_1) ... |x| cos(theta_C), -|x|, -(1 + |x|)(1 + lambda), -(1 + |x|) m ]

A logit is never below -|x| and the other two columns are always below it, so no carrier
column can win an argmax and `metrics=["accuracy"]` reads the logits without the margin.
The head is the only owner of m and lambda: a loss with another m is refused.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_sphereface import angular

CARRIER_COLUMNS = 3


class HeadOutput(NamedTuple):
    """What an `ASoftmax` head says about a batch."""

    logits: tf.Tensor  # (B, C), |x| cos(theta_j), without the margin
    norms: tf.Tensor  # (B, 1), |x|
    annealing_lambda: tf.Tensor  # (B, 1), the same in every row
    m: tf.Tensor  # (B, 1), the same in every row, a whole number


def pack_head_output(
    logits: tf.Tensor, norms: tf.Tensor, annealing_lambda: tf.Tensor, m: int
) -> tf.Tensor:
    """(B, C) logits and (B, 1) norms -> (B, C + 3); see the module's text."""
    beyond = -(1.0 + tf.stop_gradient(norms))
    annealing_lambda = tf.cast(annealing_lambda, norms.dtype)
    return tf.concat(
        [logits, -norms, beyond * (1.0 + annealing_lambda), beyond * float(m)], axis=-1
    )


def unpack_head_output(outputs: tf.Tensor) -> HeadOutput:
    """The inverse of `pack_head_output`: (B, C + 3) -> logits, norms, lambda and m."""
    logits, norms = outputs[:, :-CARRIER_COLUMNS], -outputs[:, -3:-2]
    carried = tf.stop_gradient(outputs[:, -2:] / -(1.0 + norms))
    return HeadOutput(logits, norms, carried[:, :1] - 1.0, tf.round(carried[:, 1:]))


def flat_labels(labels: tf.Tensor) -> tf.Tensor:
    """(B,) or (B, 1) labels of any number type -> (B,) int64, or floats as they are.

    Raises:
        ValueError: if the labels have another rank, one-hot rows for example.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank not in (None, 1) and labels.shape[1:] != (1,):
        raise ValueError(
            "Labels must be integers of shape (B,) or (B, 1), not one-hot. "
            f"Received: labels.shape={labels.shape}"
        )
    labels = tf.reshape(labels, [-1])
    # Keras 3 hands labels over as floats; they are judged before they are cut to whole numbers.
    return labels if labels.dtype.is_floating else tf.cast(labels, tf.int64)


def target_logits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The logit of each sample's own class: (B, C), (B,) -> (B, 1)."""
    return tf.gather(logits, labels[:, None], batch_dims=1)


def asoftmax_loss(labels: tf.Tensor, outputs: tf.Tensor, m: int) -> tf.Tensor:
    """A-Softmax cross-entropy, one value a sample (paper, eq. 7, with the authors' annealing).

    Args:
        labels: (B,) or (B, 1), whole numbers in [0, C).
        outputs: (B, C + 3), what an `ASoftmax` head returned.
        m: the margin, which must be the head's.

    Returns:
        (B,) losses. A label out of range or a wrong m stops the program with an
        InvalidArgumentError where assertions run, and is nan where they do not (XLA).
    """
    logits, norms, annealing_lambda, head_m = unpack_head_output(outputs)
    labels = flat_labels(labels)
    num_classes = tf.shape(logits)[1]
    in_range = (labels >= 0) & (labels < tf.cast(num_classes, labels.dtype))
    if labels.dtype.is_floating:
        in_range &= labels == tf.round(labels)
    # nan comes from nan embeddings, and is no matter of m: the loss is nan then, as it must be.
    same_m = (head_m[:, 0] == float(m)) | tf.math.is_nan(head_m[:, 0])
    checks = [
        tf.debugging.Assert(
            tf.reduce_all(in_range),
            [
                "Labels must be whole numbers >= 0 and below num_classes =",
                num_classes,
                "Received labels from",
                tf.reduce_min(labels),
                "to",
                tf.reduce_max(labels),
            ],
        ),
        tf.debugging.Assert(
            tf.reduce_all(same_m),
            [
                "The loss must have the m of its head; use `loss=head.loss`. Received: m =",
                m,
                "in the loss, and in the head m =",
                head_m[:1, 0],
            ],
        ),
    ]
    # In XLA the assertions vanish, and a gather out of range must not read garbage.
    labels = tf.cast(tf.where(in_range, labels, tf.zeros_like(labels)), tf.int32)
    own = target_logits(logits, labels)
    with_margin = angular.margin_logits(own, norms, m, annealing_lambda)
    rows = tf.range(tf.shape(labels)[0])
    logits = tf.tensor_scatter_nd_update(
        logits, tf.stack([rows, labels], axis=1), with_margin[:, 0]
    )
    # Run eagerly, an assertion has been made already and is None here.
    with tf.control_dependencies([check for check in checks if check is not None]):
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.where(in_range & same_m, losses, float("nan"))


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ASoftmaxLoss(keras.losses.Loss):
    """The loss that belongs to an `ASoftmax` head; best taken from it as `head.loss`.

    It holds m only. Lambda and the norms come with the head's outputs, so the annealing has
    one owner and continues wherever the head's weights are restored.

    Args:
        m: the margin of the head, an int >= 1. Another m than the head's is an error
            at the first batch.
        name: the loss's name.
        **kwargs: as for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: if `m` is not an int >= 1.
    """

    def __init__(self, m: int = 4, name: str = "asoftmax_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.m = angular.check_integer(m, "m", 1)

    def call(self, y_true, y_pred):
        return asoftmax_loss(y_true, y_pred, self.m)

    def get_config(self):
        return {**super().get_config(), "m": self.m}
