"""Distances between all embeddings of a batch."""

from keras_sphereface.backend import Tensor, dtype_of, matmul, ops
from keras_sphereface.utils.validation import check_choice

DISTANCES = ("L2", "squared-L2", "angular")


def pairwise_distances(embeddings: Tensor, distance_metric: str = "L2") -> Tensor:
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
        >>> np.asarray(pairwise_distances(np.array([[3.0, 0.0], [0.0, 4.0]]))).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    check_choice(distance_metric, "distance_metric", DISTANCES)
    embeddings = _at_least_float32(embeddings)
    if distance_metric == "angular":
        # With the floor of TensorFlow's own `l2_normalize`.
        lengths = ops.sqrt(
            ops.maximum(ops.sum(ops.square(embeddings), axis=1, keepdims=True), 1e-12)
        )
        unit = embeddings / lengths
        return 1.0 - matmul(unit, unit, transpose_b=True)
    squared_norms = ops.sum(ops.square(embeddings), axis=1)
    products = matmul(embeddings, embeddings, transpose_b=True)
    squared = squared_norms[:, None] - 2.0 * products + squared_norms[None, :]
    # Rounding may lead below 0, and away from 0 on the diagonal.
    squared = ops.where(
        off_diagonal(embeddings), ops.maximum(squared, 0.0), ops.zeros_like(squared)
    )
    return squared if distance_metric == "squared-L2" else _root(squared)


def off_diagonal(rows: Tensor) -> Tensor:
    """Return a mask (B, B) of all pairs of two different rows of (B, ...).

    Example:
        >>> np.asarray(off_diagonal(np.zeros((2, 5)))).tolist()
        [[False, True], [True, False]]
    """
    # Not `tf.linalg.set_diag`, whose gradient XLA cannot compile for an unknown batch size.
    places = ops.arange(ops.shape(rows)[0])
    return places[:, None] != places[None, :]


def _root(squared: Tensor) -> Tensor:
    """Square roots of numbers >= 0; the gradient at 0 is 0, where the plain one is infinite."""
    # Not squared > 0, by which a nan would come out as a distance of 0.
    zero = squared == 0.0
    root = ops.sqrt(ops.where(zero, ops.ones_like(squared), squared))
    return ops.where(zero, ops.zeros_like(root), root)


def _at_least_float32(tensor: Tensor) -> Tensor:
    """float64 as it is, anything else as float32."""
    tensor = ops.convert_to_tensor(tensor)
    return tensor if dtype_of(tensor) == "float64" else ops.cast(tensor, "float32")
