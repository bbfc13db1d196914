"""Closed-set identification: every probe has a mate in the gallery."""

import numpy as np

from keras_sphereface.metrics.identification.inputs import check_at_least_one


def cmc(ranks: np.ndarray, max_rank: int) -> np.ndarray:
    """Return the cumulative match characteristic.

    Args:
        ranks: (P,), from 1, as in `SearchResult`.
        max_rank: Int. R, the last rank.

    Returns:
        (R,), rising, 0 to 1: fraction of probes whose identity has rank 1, at most 2, ..., R.

    Raises:
        ValueError: if there is no probe, a probe has no mate, or `max_rank` < 1.

    Example:
        >>> cmc(np.array([1, 1, 2, 4]), max_rank=3)
        array([0.5 , 0.75, 0.75])
    """
    check_at_least_one(max_rank, "max_rank")
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or len(ranks) == 0:
        raise ValueError(f"`ranks` must be (P,), P >= 1. Received: shape {ranks.shape}")
    non_mated = np.flatnonzero(ranks < 1)
    if len(non_mated):
        raise ValueError(
            "Closed-set identification needs a mate in the gallery for every probe. Received: "
            f"none for {len(non_mated)} of {len(ranks)} probes, the first at {non_mated[0]}"
        )
    return np.searchsorted(np.sort(ranks), np.arange(1, max_rank + 1), side="right") / len(ranks)


def rank_k(ranks: np.ndarray, k: int) -> float:
    """Return the identification rate at rank k, 0 to 1: `cmc` at rank k.

    Example:
        >>> rank_k(np.array([1, 1, 2, 4]), k=1)
        0.5
    """
    return float(cmc(ranks, k)[-1])
