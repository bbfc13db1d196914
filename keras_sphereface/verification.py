"""Scores of pairs as numbers: NumPy arrays in, numbers out.

A score is higher the more alike two faces are. Accuracies over folds are in `protocols`.
"""

from typing import NamedTuple

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # where true accept rates are reported


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """Rows (N, D) at unit length; a zero row stays zero, and scores 0 with everything."""
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def cosine_scores(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P, D), (P, D) -> the P cosines, in [-1, 1]."""
    cosines = np.einsum("pd,pd->p", normalize_rows(first), normalize_rows(second))
    return np.clip(cosines, -1.0, 1.0)


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
    # FAR rises along the curve, and TAR with it. A rate of n in a thousand is n / 1000 to the
    # last bit only by luck, so a few bits are given.
    last = np.searchsorted(curve.far, far * (1 + 1e-12), side="right") - 1
    return float(curve.tar[last])


def carries(far: float, num_different: int) -> bool:
    """Whether so many mismatched pairs can tell of a false accept rate: it allows one of them."""
    return far * num_different * (1 + 1e-12) >= 1


def equal_error_threshold(curve: Roc) -> float:
    """The score where `equal_error` is reached."""
    after = int(np.argmax(curve.far - (1.0 - curve.tar) >= 0))
    return float(curve.thresholds[max(after, 1)])
