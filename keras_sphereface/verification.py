"""Face verification as numbers: NumPy arrays in, numbers out.

A score is higher the more alike two faces are. `k_fold_accuracy` is the protocol of the
authors of SphereFace on LFW's View 2; the rest describes scores whatever their protocol.
"""

from typing import NamedTuple

import numpy as np

# -1, -0.9999, ..., 1: the thresholds that the authors' code tries.
THRESHOLDS = np.arange(-10_000, 10_001) / 10_000


class FoldResult(NamedTuple):
    """The protocol's result on one fold."""

    threshold: float
    accuracy: float  # in [0, 1]
    scores: np.ndarray  # (P of this fold,), in the order of the pairs


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """Rows (N, D) at unit length; a zero row stays zero, and scores 0 with everything."""
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def cosine_scores(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P, D), (P, D) -> the P cosines, in [-1, 1]."""
    cosines = np.einsum("pd,pd->p", normalize_rows(first), normalize_rows(second))
    return np.clip(cosines, -1.0, 1.0)


def accuracies(
    scores: np.ndarray, is_same: np.ndarray, thresholds: np.ndarray | float
) -> np.ndarray:
    """The share of pairs that each threshold classifies rightly.

    "Same" takes a score strictly above the threshold and "different" one strictly below: a
    pair on the threshold is wrong either way, as in the authors' code.

    Args:
        scores: (P,), P >= 1.
        is_same: (P,) bool.
        thresholds: (T,) or a number.
    """
    same, different = np.sort(scores[is_same]), np.sort(scores[~is_same])
    above = len(same) - np.searchsorted(same, thresholds, side="right")
    below = np.searchsorted(different, thresholds, side="left")
    return (above + below) / len(scores)


def best_threshold(scores: np.ndarray, is_same: np.ndarray) -> float:
    """The mean of all `THRESHOLDS` that reach the highest accuracy."""
    reached = accuracies(scores, is_same, THRESHOLDS)
    return float(np.mean(THRESHOLDS[reached == reached.max()]))


def k_fold_accuracy(
    first: np.ndarray, second: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> list[FoldResult]:
    """The protocol of SphereFace on LFW, for any number of folds from 2 on.

    For each fold: the mean feature of the other folds' pairs is subtracted (a picture counts
    as often as it occurs in them), features are normalised, the score is the cosine, the
    threshold is the best on the other folds and the accuracy that on this fold.

    Args:
        first, second: (P, D) features of the two pictures of each pair.
        is_same: (P,) bool.
        folds: (P,) the fold of each pair.

    Returns:
        One `FoldResult` a fold, in rising order of the fold numbers.

    Raises:
        ValueError: if there is one fold only, or a fold without both kinds of pairs.

    Reference: Liu et al., "SphereFace", CVPR 2017, section 4.2, and the authors' evaluation
    code; Huang et al., "Labeled Faces in the Wild", 2007, View 2.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    _check_features(first, second, is_same, folds)
    check_folds(is_same, folds)
    results = []
    for fold in np.unique(folds):
        held_out = folds == fold
        mean = (first[~held_out].mean(0) + second[~held_out].mean(0)) / 2
        scores = cosine_scores(first - mean, second - mean)
        threshold = best_threshold(scores[~held_out], is_same[~held_out])
        accuracy = accuracies(scores[held_out], is_same[held_out], threshold)
        results.append(FoldResult(threshold, float(accuracy), scores[held_out]))
    return results


def _check_features(first, second, is_same, folds):
    shapes = {"first": first.shape, "second": second.shape}
    shapes |= {"is_same": np.shape(is_same), "folds": np.shape(folds)}
    same_length = len({shape[0] for shape in shapes.values()}) == 1
    if first.ndim != 2 or first.shape != second.shape or not same_length:
        raise ValueError(
            "Expected first and second of shape (P, D), is_same and folds of shape (P,). "
            f"Received: {shapes}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("Features must be finite. Received: nan or infinity among them")


def check_folds(is_same: np.ndarray, folds: np.ndarray) -> None:
    """Refuse pairs that the protocol cannot judge; is_same (P,) bool and folds (P,).

    Raises:
        ValueError: if there is one fold only, or a fold without both kinds of pairs.
    """
    if len(np.unique(folds)) < 2:
        raise ValueError(
            "The threshold for a fold comes from the others: at least 2 folds are needed. "
            f"Received: folds={np.unique(folds).tolist()}"
        )
    for fold in np.unique(folds):
        if len(np.unique(is_same[folds == fold])) < 2:
            raise ValueError(
                "Every fold needs matched and mismatched pairs. "
                f"Received: one kind only in fold {fold}"
            )


class Roc(NamedTuple):
    """A ROC curve; point i is the decision score >= thresholds[i]."""

    far: np.ndarray  # rising from 0 to 1
    tar: np.ndarray  # rising from 0 to 1
    thresholds: np.ndarray  # falling from infinity


def roc(scores: np.ndarray, is_same: np.ndarray) -> Roc:
    """The ROC of scores (P,), equal scores taken together."""
    order = np.argsort(-scores, kind="stable")
    ranked, same = scores[order], is_same[order]
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    tar = np.cumsum(same)[last_of_tie] / np.sum(same)
    far = np.cumsum(~same)[last_of_tie] / np.sum(~same)
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
    return float(curve.tar[curve.far <= far].max())
