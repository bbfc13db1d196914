"""Distances between all embeddings of a batch."""

import tensorflow as tf

from keras_sphereface.utils.validation import check_choice

DISTANCES = ("L2", "squared-L2", "angular")


def pairwise_distances(embeddings: tf.Tensor, distance_metric: str = "L2") -> tf.Tensor:
    """Return the distance of each embedding to each, (B, D) -> (B, B), float32 or float64.

    Gradients are finite everywhere. That of an "L2" distance of 0 is 0. That of an "angular"
    distance of a zero embedding may be as large as 1e6.

    The squares of the distances come from one matrix product and carry its rounding: about 1e-7
    times the square of the longer norm in float32. Two embeddings that are all but equal may so
    have a distance of some 1e-4 of their norm; one to itself has exactly 0.

    Args:
        embeddings: (B, D) of any float dtype; half precision is computed in float32.
        distance_metric: "L2", "squared-L2", or "angular", which is 1 - cos(theta), from 0 to 2.

    Raises:
        ValueError: If `distance_metric` is none of these.

    Example:
        >>> pairwise_distances(tf.constant([[3.0, 0.0], [0.0, 4.0]])).numpy().tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    check_choice(distance_metric, "distance_metric", DISTANCES)
    embeddings = _at_least_float32(embeddings)
    if distance_metric == "angular":
        unit = tf.math.l2_normalize(embeddings, axis=1)
        return 1.0 - tf.matmul(unit, unit, transpose_b=True)
    squared_norms = tf.reduce_sum(tf.square(embeddings), axis=1)
    products = tf.matmul(embeddings, embeddings, transpose_b=True)
    squared = squared_norms[:, None] - 2.0 * products + squared_norms[None, :]
    # Rounding may lead below 0, and away from 0 on the diagonal.
    squared = tf.where(off_diagonal(embeddings), tf.maximum(squared, 0.0), 0.0)
    return squared if distance_metric == "squared-L2" else _root(squared)


def off_diagonal(rows: tf.Tensor) -> tf.Tensor:
    """Return a mask (B, B) of all pairs of two different rows of (B, ...).

    Example:
        >>> off_diagonal(tf.zeros((2, 5))).numpy().tolist()
        [[False, True], [True, False]]
    """
    # Not `tf.linalg.set_diag`, whose gradient XLA cannot compile for an unknown batch size.
    return ~tf.eye(tf.shape(rows)[0], dtype=tf.bool)


def _root(squared: tf.Tensor) -> tf.Tensor:
    """Square roots of numbers >= 0; the gradient at 0 is 0, where the plain one is infinite."""
    # Not squared > 0, by which a nan would come out as a distance of 0.
    zero = tf.equal(squared, 0.0)
    root = tf.sqrt(tf.where(zero, tf.ones_like(squared), squared))
    return tf.where(zero, tf.zeros_like(root), root)


def _at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    """float64 as it is, anything else as float32."""
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)
