"""Checks of labels, inside of a compiled step too."""

from typing import Any

import numpy as np

from keras_sphereface.backend import INTEGER, Tensor, is_floating, ops, require


def flat_labels(labels: Tensor) -> Tensor:
    """Return labels (B,) or (B, 1) of any number type as (B,) integers, or floats as they are.

    Raises:
        ValueError: If the labels have another rank, one-hot rows for example.
    """
    labels = ops.convert_to_tensor(labels)
    # Only TensorFlow has tensors of unknown rank.
    sizes = () if getattr(labels.shape, "rank", 0) is None else tuple(labels.shape)[1:]
    if sizes not in ((), (1,), (None,)):
        raise ValueError(
            "Labels must be integers of shape (B,) or (B, 1), not one-hot. One-hot rows become "
            "such labels by np.argmax(labels, axis=-1), and folders that Keras reads by "
            f'label_mode="int". Received: labels.shape={tuple(labels.shape)}'
        )
    labels = ops.reshape(labels, [-1])
    # Keras 3 passes labels as floats; they are checked before they are cut to whole numbers.
    return labels if is_floating(labels) else ops.cast(labels, INTEGER)


def checked_labels(labels: Tensor, num_classes: int, batch_size: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels as (B,) int32 in [0, num_classes), and (B,) whether they were valid.

    Another number of labels than `batch_size`, or a label out of range, is an error where the
    program can be stopped (see `backend.require`). Where it cannot, as in what XLA compiles, the
    label becomes 0, and the caller must not use what comes of it.
    """
    labels = flat_labels(labels)
    valid = (labels >= 0) & (labels < num_classes)
    if is_floating(labels):
        valid = valid & (labels == ops.round(labels))
    count = ops.shape(labels)[0]
    labels = require(
        ops.convert_to_tensor(count == batch_size),
        "There must be as many labels as embeddings. Received:",
        [count, "and", batch_size],
        labels,
    )
    labels = require(
        ops.all(valid),
        f"Labels must be whole numbers >= 0 and below num_classes = {num_classes}. "
        "Received labels from",
        [ops.min(labels), "to", ops.max(labels)],
        labels,
    )
    return ops.cast(ops.where(valid, labels, ops.zeros_like(labels)), "int32"), valid


def check_array_of_labels(labels: Any, num_classes: int) -> None:
    """Check labels before a program is compiled, which may not be able to stop; arrays only.

    Raises:
        ValueError: If a label is no whole number in [0, num_classes).

    Example:
        >>> check_array_of_labels(np.array([0, 3]), num_classes=3)
        Traceback (most recent call last):
        ValueError: Labels must be whole numbers >= 0 and below num_classes = 3. ...
    """
    if not isinstance(labels, np.ndarray | list | tuple):
        return
    values = np.asarray(labels)
    if not np.issubdtype(values.dtype, np.number) or values.ndim > 2:
        return  # the loss says what is wrong
    wrong = np.flatnonzero((values < 0) | (values >= num_classes) | (values != np.round(values)))
    if wrong.size:
        first = values.reshape(-1)[wrong[0]]
        more = f", and {wrong.size - 1} more of that kind" if wrong.size > 1 else ""
        raise ValueError(
            f"Labels must be whole numbers >= 0 and below num_classes = {num_classes}. "
            f"Received: {first} at index {wrong[0]}{more}"
        )
