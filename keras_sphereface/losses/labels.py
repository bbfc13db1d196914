"""Checks of labels, inside of a compiled step too."""

import tensorflow as tf


def flat_labels(labels: tf.Tensor) -> tf.Tensor:
    """Return labels (B,) or (B, 1) of any number type as (B,) int64, or floats as they are.

    Raises:
        ValueError: If the labels have another rank, one-hot rows for example.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank not in (None, 1) and not labels.shape[1:].is_compatible_with((1,)):
        raise ValueError(
            "Labels must be integers of shape (B,) or (B, 1), not one-hot. "
            f"Received: labels.shape={labels.shape}"
        )
    labels = tf.reshape(labels, [-1])
    # Keras 3 passes labels as floats; they are checked before they are cut to whole numbers.
    return labels if labels.dtype.is_floating else tf.cast(labels, tf.int64)


def checked_labels(
    labels: tf.Tensor, num_classes: int, batch_size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return labels as (B,) int32 in [0, num_classes), and (B,) whether they were valid.

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
    # Run eagerly, an assertion has been made already and is None.
    with tf.control_dependencies([check for check in (same_size, assertion) if check is not None]):
        return tf.cast(tf.where(valid, labels, tf.zeros_like(labels)), tf.int32), valid
