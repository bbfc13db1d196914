"""`HeadLoss`, and the way a head hands its loss what that needs.

A Keras loss sees one tensor: what the head returned. A margin needs more: the embeddings, the
class weights, lambda. The head leaves them as an attribute on the tensor that it returns, a
`HeadContext`, as Keras' own softmax leaves its logits there for the cross-entropy. So the
output is plain logits (B, C) where there are classes, every metric reads it, the head stays the
only owner of its settings, and logits that no one reads are never computed in a compiled step.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_sphereface.distribute.collectives import ClassShard
from keras_sphereface.utils import validation
from keras_sphereface.utils.compat import loss_config

ATTRIBUTE = "_keras_sphereface_context"
NO_CONTEXT = (
    "The loss of a head must be given the very tensor that the head returned: the head must be the "
    "model's last layer and be called in the same function as the loss."
)


class HeadContext(NamedTuple):
    """What one call of a head knows; see `context_of`."""

    head: Any  # the layer
    embeddings: tf.Tensor  # (B, D)
    norms: tf.Tensor  # (B, 1), |x|
    rows: tf.Tensor  # (B, D), the embeddings, scaled as the logits are
    kernels: list[tf.Tensor]  # blocks (D, C_b) of class weights
    biases: list[tf.Tensor]  # (C_b,) each, or empty
    inverses: list[tf.Tensor]  # (C_b,) each, 1 / |w_j|, or empty where the norms do not count
    products: tf.Tensor | None  # (B, C), the logits without bias, where there is one block
    step: tf.Tensor  # int64, the number of this training step, or of the last one
    training: bool
    part: ClassShard | None = None  # where classes are split over replicas; blocks are of this part


class HeadOutput(NamedTuple):
    """What a head says about a batch with labels; one value a sample, (B,)."""

    losses: tf.Tensor  # with the margin
    correct: tf.Tensor  # bool: without margin, the own class is above all that were looked at
    cos_theta: tf.Tensor  # of the angle to the own class weight


def leave_context(outputs: tf.Tensor, context: HeadContext) -> tf.Tensor:
    """Return `outputs` with `context` on it."""
    setattr(outputs, ATTRIBUTE, context)
    return outputs


def context_of(outputs: tf.Tensor) -> HeadContext:
    """What the head left on its outputs.

    Raises:
        ValueError: if `outputs` is not the very tensor that a head returned.
    """
    context = getattr(outputs, ATTRIBUTE, None)
    if context is None:
        raise ValueError(f"{NO_CONTEXT} Received: {outputs!r}")
    return context


def flat_labels(labels: tf.Tensor) -> tf.Tensor:
    """(B,) or (B, 1) labels of any number type -> (B,) int64, or floats as they are.

    Raises:
        ValueError: if the labels have another rank, one-hot rows for example.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank not in (None, 1) and not labels.shape[1:].is_compatible_with((1,)):
        raise ValueError(
            "Labels must be integers of shape (B,) or (B, 1), not one-hot. "
            f"Received: labels.shape={labels.shape}"
        )
    labels = tf.reshape(labels, [-1])
    # Keras 3 hands labels over as floats; they are judged before they are cut to whole numbers.
    return labels if labels.dtype.is_floating else tf.cast(labels, tf.int64)


def checked_labels(
    labels: tf.Tensor, num_classes: int, batch_size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels of any form -> (B,) int32 in [0, num_classes), and (B,) whether they were so.

    Another number of labels than `batch_size`, or a label out of range, stops the program with
    an InvalidArgumentError. Where assertions do not run (XLA) the label becomes 0, and the caller
    must not use what comes of it.
    """
    labels = flat_labels(labels)
    valid = (labels >= 0) & (labels < tf.cast(num_classes, labels.dtype))
    if labels.dtype.is_floating:
        valid &= labels == tf.round(labels)
    assertion = tf.debugging.Assert(
        tf.reduce_all(valid),
        [
            "Labels must be whole numbers >= 0 and below num_classes =",
            num_classes,
            "Received labels from",
            tf.reduce_min(labels),
            "to",
            tf.reduce_max(labels),
        ],
    )
    same_size = tf.debugging.assert_equal(
        tf.shape(labels)[0], batch_size, "There must be as many labels as outputs."
    )
    # Run eagerly, an assertion has been made already and is None here.
    with tf.control_dependencies([check for check in (same_size, assertion) if check is not None]):
        return tf.cast(tf.where(valid, labels, tf.zeros_like(labels)), tf.int32), valid


def _only_traced(outputs):
    """Whether outputs without a context are met in tracing, where the run may never come."""
    return not tf.executing_eagerly() and not hasattr(outputs, ATTRIBUTE)


def _failing_values(outputs):
    """(B,) values that are an error when they are computed, and nan in XLA.

    They depend on the outputs, or an optimizer would complain of absent gradients first.

    Under a strategy Keras 3 traces losses and metrics once with a tensor of its own, and never
    runs that.
    """
    assertion = tf.debugging.Assert(False, [NO_CONTEXT, "Received:", outputs])
    with tf.control_dependencies([assertion]):
        rows = tf.reshape(outputs, [tf.shape(outputs)[0], -1])
        return float("nan") * tf.reduce_sum(rows, axis=1)


@keras.saving.register_keras_serializable(package="keras_sphereface")
class HeadLoss(keras.losses.Loss):
    """The loss of the head whose outputs it is given; best taken from it as `head.loss`.

    It holds no settings: margin, scale and lambda are the head's, and continue wherever the
    head's weights are restored. `y_true` are labels (B,) or (B, 1), whole numbers in [0, C);
    `y_pred` is the tensor that the head returned.

    Args:
        name: the loss's name.
        **kwargs: as for `keras.losses.Loss`, for example `reduction`.
    """

    def __init__(self, name: str = "head_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        if _only_traced(y_pred):
            return _failing_values(y_pred)
        self.check(context_of(y_pred).head)
        return context_of(y_pred).head.compute_losses(y_true, y_pred).losses

    def check(self, head) -> None:
        """Refuse a head that this loss is not for."""
        del head

    def get_config(self):
        return {**super().get_config(), **loss_config(self)}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class ASoftmaxLoss(HeadLoss):
    """The loss that belongs to an `ASoftmax` head; best taken from it as `head.loss`.

    Args:
        m: the margin of the head, an int >= 1. Another m than the head's is an error.
        name: the loss's name.
        **kwargs: as for `keras.losses.Loss`, for example `reduction`.

    Raises:
        TypeError, ValueError: if `m` is not an int >= 1.
    """

    def __init__(self, m: int = 4, name: str = "asoftmax_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.m = validation.check_integer(m, "m", 1)

    def check(self, head):
        head_m = getattr(head, "m", None)
        if head_m != self.m:
            raise ValueError(
                "The loss must have the m of its head; use `loss=head.loss`. "
                f"Received: m={self.m} in the loss, and in the head m={head_m}"
            )

    def get_config(self):
        return {**super().get_config(), "m": self.m}


@keras.saving.register_keras_serializable(package="keras_sphereface")
def embedding_norm(y_true, y_pred):
    """|x| of each sample, (B,), of a float32 head: `metrics=["accuracy", embedding_norm]`."""
    del y_true
    if _only_traced(y_pred):
        return _failing_values(y_pred)
    return context_of(y_pred).norms[:, 0]
