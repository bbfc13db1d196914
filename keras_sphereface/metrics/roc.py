"""Scores of pairs as numbers: NumPy arrays in, numbers out.

A score is higher the more alike two faces are. Accuracies over folds are in `protocols`.
"""

from typing import NamedTuple

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # where true accept rates are reported
ROUNDING = 1 + 1e-12  # a rate that is meant to be equal is at most this much larger


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """Rows (N, D) at unit length; a zero row stays zero, and scores 0 with everything."""
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


class Roc(NamedTuple):
    """A ROC curve; point i is the decision score >= thresholds[i]."""

    far: np.ndarray  # rising from 0 to 1
    tar: np.ndarray  # rising from 0 to 1
    thresholds: np.ndarray  # falling from infinity


def roc(scores: np.ndarray, is_same: np.ndarray) -> Roc:
    """The ROC of scores (P,), equal scores taken together."""
    order = np.argsort(-scores, kind="stable")
    return roc_of_counts(scores[order], is_same[order], ~is_same[order])


def roc_of_counts(ranked: np.ndarray, same: np.ndarray, different: np.ndarray) -> Roc:
    """The ROC of pairs that count several times, or not at all.

    Args:
        ranked: (P,) scores, falling.
        same, different: (P,) how often each counts as a matched and as a mismatched pair.
    """
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    tar = np.cumsum(same)[last_of_tie] / np.sum(same)
    far = np.cumsum(different)[last_of_tie] / np.sum(different)
    return Roc(np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, ranked[last_of_tie]))


def auc_score(curve: Roc) -> float:
    """The area under a ROC: how often a matched pair scores above a mismatched one."""
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def equal_error(curve: Roc) -> float:
    """Where the false accept rate meets the false reject rate, between points by a line."""
    gap = curve.far - (1.0 - curve.tar)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    step = gap[after] - gap[before]
    weight = -gap[before] / step if step > 0 else 0.0
    return float(curve.far[before] + weight * (curve.far[after] - curve.far[before]))


def tar_at_far(curve: Roc, far: float) -> float:
    """The highest true accept rate whose false accept rate is at most `far`."""
    return float(curve.tar[_last_within(curve, far)])


def threshold_at_far(curve: Roc, far: float) -> float | None:
    """The score from which on pairs are accepted for `tar_at_far`; None if none may be."""
    threshold = float(curve.thresholds[_last_within(curve, far)])
    return threshold if np.isfinite(threshold) else None


def _last_within(curve, far):
    # FAR rises along the curve, and TAR with it. Three of 3,000 are 0.001 to the last bit only
    # by luck, so some bits are given.
    return np.searchsorted(curve.far, far * ROUNDING, side="right") - 1


def carries(far: float, num_different: int) -> bool:
    """Whether so many mismatched pairs can tell of a false accept rate: it allows one of them."""
    return far * ROUNDING * num_different >= 1
