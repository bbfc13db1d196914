"""Verification rates of pairs: ROC curve, area under it, equal error rate, TAR at a FAR.

A score is higher the more similar two faces are; a pair is accepted as matched when its score is
at least the threshold. Rates are over single comparisons: the false accept rate (FAR) is the false
match rate (FMR) of ISO/IEC 19795-1, and 1 - TAR, the false reject rate (FRR), is its false
non-match rate (FNMR). Accuracies over folds are in `protocols`.
"""

import dataclasses

import numpy as np

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # at which true accept rates are reported
# Three false accepts of 3,000 are a FAR of 0.001 up to the last bits only.
RATE_TOLERANCE = 1 + 1e-12


@dataclasses.dataclass(frozen=True)
class Roc:
    """A ROC curve; point i is the decision score >= thresholds[i].

    Attributes:
        far: (K,) false accept rate (FMR), rising from 0 to 1.
        tar: (K,) true accept rate (1 - FNMR), rising from 0 to 1.
        thresholds: (K,) falling from infinity, in the unit of the scores.

    Example:
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True]))
        >>> curve.far.tolist(), curve.tar.tolist(), curve.thresholds.tolist()
        ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0], [inf, 0.9, 0.6, 0.4])
    """

    far: np.ndarray
    tar: np.ndarray
    thresholds: np.ndarray


def roc_curve(scores: np.ndarray, is_same: np.ndarray) -> Roc:
    """Return the ROC of pairs; equal scores make one point.

    Args:
        scores: (P,).
        is_same: (P,) bool, True for matched pairs; both kinds among them.

    Example:
        >>> roc_curve(np.array([0.9, 0.4]), np.array([True, False])).tar
        array([0., 1., 1.])
    """
    order = np.argsort(-scores, kind="stable")
    return weighted_roc_curve(scores[order], is_same[order], ~is_same[order])


def weighted_roc_curve(
    falling_scores: np.ndarray, num_matched: np.ndarray, num_mismatched: np.ndarray
) -> Roc:
    """Return the ROC of pairs that count any number of times.

    Args:
        falling_scores: (P,).
        num_matched: (P,) number of matched pairs with each score.
        num_mismatched: (P,) number of mismatched pairs with each score.

    Example:
        >>> weighted_roc_curve(np.array([0.9, 0.4]), np.array([3, 1]), np.array([0, 2])).tar
        array([0.  , 0.75, 1.  ])
    """
    last_of_tie = np.append(falling_scores[1:] != falling_scores[:-1], True)
    tar = np.cumsum(num_matched)[last_of_tie] / np.sum(num_matched)
    far = np.cumsum(num_mismatched)[last_of_tie] / np.sum(num_mismatched)
    thresholds = np.append(np.inf, falling_scores[last_of_tie])
    return Roc(np.append(0.0, far), np.append(0.0, tar), thresholds)


def auc_score(curve: Roc) -> float:
    """Return the area under a ROC, 0 to 1.

    It is the probability that a matched pair scores above a mismatched one; a tie counts half.

    Example:
        >>> auc_score(roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True])))
        0.5
    """
    return float(np.sum(np.diff(curve.far) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def equal_error_rate(curve: Roc) -> float:
    """Return the rate, 0 to 1, at which FAR (FMR) and FRR (FNMR) are equal.

    Between the two points around it the curve is a straight line.

    Example:
        >>> scores = np.array([0.9, 0.8, 0.7, 0.6])
        >>> equal_error_rate(roc_curve(scores, np.array([True, False, True, False])))
        0.5
    """
    gap = curve.far - (1.0 - curve.tar)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    step = gap[after] - gap[before]
    weight = -gap[before] / step if step > 0 else 0.0
    return float(curve.far[before] + weight * (curve.far[after] - curve.far[before]))


def tar_at_far(curve: Roc, far: float) -> float:
    """Return the highest true accept rate (1 - FNMR) with a false accept rate of at most `far`.

    Example:
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True]))
        >>> tar_at_far(curve, far=0.1)
        0.5
    """
    return float(curve.tar[_last_within(curve, far)])


def tars_at_fars(curve: Roc, fars: np.ndarray) -> np.ndarray:
    """Return the `tar_at_far` of many rates (K,) at once.

    Example:
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True]))
        >>> tars_at_fars(curve, np.array([0.1, 1.0]))
        array([0.5, 1. ])
    """
    return curve.tar[np.searchsorted(curve.far, fars * RATE_TOLERANCE, side="right") - 1]


def threshold_at_far(curve: Roc, far: float) -> float | None:
    """Return the threshold of `tar_at_far`; None if every threshold accepts too many.

    Example:
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True]))
        >>> threshold_at_far(curve, far=0.1)
        0.9
    """
    threshold = float(curve.thresholds[_last_within(curve, far)])
    return threshold if np.isfinite(threshold) else None


def is_measurable(far: float, num_mismatched: int) -> bool:
    """Return whether there are enough mismatched pairs for a FAR: it must allow one of them.

    Example:
        >>> is_measurable(1e-3, num_mismatched=3000), is_measurable(1e-4, num_mismatched=3000)
        (True, False)
    """
    return far * RATE_TOLERANCE * num_mismatched >= 1


def _last_within(curve: Roc, far: float) -> np.intp:
    """Return the last point whose FAR is at most `far`; TAR rises along the curve."""
    return np.searchsorted(curve.far, far * RATE_TOLERANCE, side="right") - 1
