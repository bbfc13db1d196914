"""Embeddings as directions: rows of unit length, products of pairs of rows, angles."""

from collections.abc import Iterator

import numpy as np

BLOCK = 256  # pairs compared at once: two sides of 1,024 float64 numbers fit into a cache

# Outside of these lengths a squared norm leaves the range of float32.
SHORTEST, LONGEST = 1e-15, 1e15


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """Return rows (N, D) at unit length.

    A zero row stays zero, and so has the cosine 0 with every other row.

    Example:
        >>> normalize_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
        array([[0.6, 0.8],
               [0. , 0. ]])
    """
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def unit_rows(rows: np.ndarray, name: str, first_row: int = 0) -> np.ndarray:
    """Return rows (N, D) at unit length, float32, and refuse rows without a direction.

    Args:
        rows: (N, D) real numbers of any type.
        name: Name of the array, for messages.
        first_row: Number of its first row, for messages.

    Raises:
        ValueError: if a row is zero or not finite.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0]]), "probes")
        array([[0.6, 0.8]], dtype=float32)
    """
    rows = np.asarray(rows)
    rows = rows.astype(np.result_type(rows.dtype, np.float32), copy=False)
    # Rows that overflow, underflow or hold nan are handled one by one below.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        norms = np.sqrt(row_products(rows, rows))
        unusual = np.flatnonzero(~((norms > SHORTEST) & (norms < LONGEST)))
        if len(unusual):
            peaks = np.abs(rows[unusual]).max(axis=1)
            _check_peaks(peaks, unusual + first_row, name)
            rows = rows.copy()
            rows[unusual] /= peaks[:, None]
            norms[unusual] = np.linalg.norm(rows[unusual], axis=1)
        return (rows / norms[:, None]).astype(np.float32, copy=False)


def pair_products(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the dot products (P,) of pairs (P, 2) of rows (N, D), block by block.

    Example:
        >>> pair_products(np.eye(2), np.array([(0, 1), (1, 1)]))
        array([0., 1.])
    """
    products = np.empty(len(pairs))
    for block in _blocks(len(pairs)):
        products[block] = row_products(rows[pairs[block, 0]], rows[pairs[block, 1]])
    return products


def pair_squared_distances(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the squared distances (P,) of pairs (P, 2) of rows (N, D), block by block.

    Example:
        >>> pair_squared_distances(np.eye(2), np.array([(0, 1), (1, 1)]))
        array([2., 0.])
    """
    squares = np.empty(len(pairs))
    for block in _blocks(len(pairs)):
        differences = rows[pairs[block, 0]] - rows[pairs[block, 1]]
        squares[block] = row_products(differences, differences)
    return squares


def row_products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the dot product (N,) of each row of (N, D) with the same row of the other (N, D).

    Example:
        >>> row_products(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
        array([11.])
    """
    return np.einsum("nd,nd->n", first, second)


def degrees_from_cosines(cosines: np.ndarray) -> np.ndarray:
    """Return the angles of cosines in degrees, 0 to 180; cosines beyond -1 and 1 are clipped.

    Example:
        >>> degrees_from_cosines(np.array([1.0 + 1e-9, 0.0, -1.0]))
        array([  0.,  90., 180.])
    """
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def _check_peaks(peaks: np.ndarray, row_numbers: np.ndarray, name: str) -> None:
    for is_bad, allowed in ((~np.isfinite(peaks), "finite"), (peaks == 0, "other than zero")):
        if is_bad.any():
            raise ValueError(
                f"Every row of `{name}` must be {allowed}. "
                f"Received: {np.sum(is_bad)} bad rows, the first is row {row_numbers[is_bad][0]}"
            )
