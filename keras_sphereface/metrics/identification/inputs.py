"""Checks of what identification takes: rows, labels, rates."""

import numpy as np


def check_rows(rows: np.ndarray, name: str, size: int | None = None, min_rows: int = 1) -> None:
    """Refuse what is not (N, D) real numbers, D = `size` if given, N >= `min_rows`."""
    shape = np.shape(rows)
    fits = len(shape) == 2 and shape[0] >= min_rows and shape[1] > 0
    if not fits or shape[1] != (size or shape[1]):
        expected = f"(N, {size or 'D'})" + (f", N >= {min_rows}" if min_rows else "")
        raise ValueError(f"`{name}` must be {expected}. Received: shape {shape}")
    if rows.dtype.kind not in "fiu":
        raise ValueError(f"`{name}` must be real numbers. Received: dtype {rows.dtype}")


def check_at_least_one(value: int, name: str) -> None:
    """Refuse an integer below 1."""
    if value < 1:
        raise ValueError(f"`{name}` must be >= 1. Received: {name}={value}")


def check_rate(far: float) -> None:
    """Refuse a false accept or false alarm rate that is not in (0, 1]."""
    if not 0 < far <= 1:
        raise ValueError(f"A false accept or alarm rate must be in (0, 1]. Received: {far}")


def as_labels(labels: np.ndarray, name: str, length: int) -> np.ndarray:
    """Return labels (N,) as int64 or str: types that compare with each other as they are."""
    labels = np.asarray(labels)
    if labels.shape != (length,):
        raise ValueError(f"`{name}` must be ({length},). Received: shape {labels.shape}")
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    raise ValueError(f"`{name}` must be integers or strings. Received: dtype {labels.dtype}")


def common_codes(
    gallery_labels: np.ndarray, probe_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the identities (G,) and (P,) as numbers from 0 that both share."""
    if gallery_labels.dtype.kind != probe_labels.dtype.kind:
        raise ValueError(
            "Labels must be all integers or all strings. "
            f"Received: {gallery_labels.dtype} for the gallery, {probe_labels.dtype} for probes"
        )
    labels = np.concatenate([gallery_labels, probe_labels])
    codes = np.unique(labels, return_inverse=True)[1]
    return codes[: len(gallery_labels)], codes[len(gallery_labels) :]


def max_errors(rate: float, count: int) -> int:
    """Return how many of `count` may be wrong: the most whose fraction is at most `rate`."""
    # The product may be rounded to the wrong side of a whole number; the fraction decides.
    errors = min(int(rate * count) + 1, count)
    while errors > 0 and errors / count > rate:
        errors -= 1
    return errors
