"""The protocols that turn pairs of faces into an accuracy over folds.

They differ in the feature and score, in the thresholds that are tried, and in how a score on the
threshold counts. In all of them the threshold of a fold comes from the other folds. One model gets
a different accuracy from each protocol, so an accuracy is reported with its protocol. Their names,
units and descriptions are `config.choices.PROTOCOLS`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.metrics import vectors

# -1, -0.9999, ..., 1: the thresholds that the reference implementation tries.
COSINE_THRESHOLDS = np.arange(-10_000, 10_001) / 10_000
# InsightFace's squared distances 0, 0.01, ..., 3.99, of unit vectors.
SQUARED_DISTANCES = np.arange(0, 4, 0.01)
# The squared length of a feature minus the mean is rounding error below this fraction of the
# feature's own, or below the square of this fraction of the average.
ROUNDING = 1e-13


@dataclasses.dataclass(frozen=True)
class KFoldResult:
    """Result of a protocol on P pairs in F folds.

    Attributes:
        folds: (F,) numbers of the folds, rising.
        thresholds: (F,) threshold of each fold, in the unit of the scores.
        accuracies: (F,) fraction of correct pairs of each fold, 0 to 1.
        scores: (P,) higher is more similar; the unit is that of the protocol.
        is_correct: (P,) bool, whether the decision on the pair is correct.

    Example:
        >>> one = np.ones(1)
        >>> KFoldResult(one, one, one, np.array([0.7]), np.array([True])).is_correct
        array([ True])
    """

    folds: np.ndarray
    thresholds: np.ndarray
    accuracies: np.ndarray
    scores: np.ndarray
    is_correct: np.ndarray

    def thresholds_of_pairs(self, folds: np.ndarray) -> np.ndarray:
        """Return the threshold (P,) for each pair, given the folds (P,) of the pairs."""
        return self.thresholds[np.searchsorted(self.folds, folds)]


def k_fold(
    protocol: str, views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> KFoldResult:
    """Evaluate pairs by a protocol of `PROTOCOLS`.

    Args:
        protocol: Name of the protocol.
        views: (N, V, D) embeddings of N images: of the image, V = 1, or of the image and its
            mirror image, V = 2.
        pairs: (P, 2) int, rows of the two images of each pair.
        is_same: (P,) bool, True for matched pairs; other types are taken as truth values.
        folds: (P,) int, fold of each pair; 2 folds or more.

    Raises:
        ValueError: if the protocol is unknown, shapes do not fit, an embedding is zero or not
            finite, there is one fold only, or a fold has one kind of pairs only.

    Example:
        >>> views = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])[:, None]
        >>> pairs = np.array([(0, 1), (0, 2)] * 2)
        >>> is_same, folds = np.array([True, False] * 2), np.array([1, 1, 2, 2])
        >>> k_fold("plain", views, pairs, is_same, folds).accuracies
        array([1., 1.])
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: protocol={protocol!r}"
        )
    views, pairs = np.asarray(views), np.asarray(pairs)
    is_same, folds = np.asarray(is_same, bool), np.asarray(folds)
    _check_shapes(views, pairs, is_same, folds)
    check_embeddings(views)
    check_folds(is_same, folds)
    functions = {"sphereface": _sphereface, "insightface": _insightface, "plain": _plain}
    return functions[protocol](views, pairs, is_same, folds)


def standard_error(accuracies: np.ndarray) -> float:
    """Return the standard error of the mean of fold accuracies (F,), F >= 2.

    It is the sample standard deviation over the square root of F.

    Reference: Huang et al., "Labeled Faces in the Wild", 2007, equations 2 and 3.

    Example:
        >>> round(standard_error(np.array([0.9, 1.0])), 6)
        0.05
    """
    return float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies)))


def check_embeddings(views: np.ndarray, keys: Sequence[str] | None = None) -> None:
    """Refuse embeddings (N, V, D) without a direction.

    Raises:
        ValueError: naming the key, or the row, of the first that is zero or not finite.
    """
    peaks = np.abs(views).max(axis=-1, initial=0.0)  # (N, V), nan where one is
    unusable = ~(np.isfinite(peaks) & (peaks > 0)).all(axis=1)
    if unusable.any():
        row = int(np.argmax(unusable))
        value = "zero" if np.isfinite(peaks[row]).all() else "nan or infinity"
        where = f"row {row}" if keys is None else keys[row]
        raise ValueError(
            "Embeddings must be finite and not zero. "
            f"Received: {value} for {where}, the first of {unusable.sum()}"
        )


def check_folds(is_same: np.ndarray, folds: np.ndarray) -> None:
    """Refuse pairs that no protocol can evaluate; is_same (P,) bool and folds (P,).

    Raises:
        ValueError: if there is one fold only, or a fold has one kind of pairs only.
    """
    if len(np.unique(folds)) < 2:
        raise ValueError(
            "The threshold of a fold comes from the other folds: at least 2 folds are needed. "
            f"Received: folds={np.unique(folds).tolist()}"
        )
    for fold in np.unique(folds):
        if len(np.unique(is_same[folds == fold])) < 2:
            raise ValueError(
                "Every fold needs matched and mismatched pairs. "
                f"Received: one kind only in fold {fold}"
            )


def _sphereface(
    views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> KFoldResult:
    """SphereFace's protocol on LFW.

    The feature is the embedding joined with that of the mirror image. For each fold the mean
    feature of the other folds' pairs is subtracted (an image counts as often as it occurs in
    them), and the score is the cosine. The threshold is the mean of all of -1, -0.9999, ..., 1
    that are best on the other folds. "Same" takes a score strictly above it and "different" one
    strictly below: a pair on the threshold is wrong either way.

    Reference: Liu et al., "SphereFace", CVPR 2017, section 4.2, and the evaluation code of the
    reference implementation; Huang et al., "Labeled Faces in the Wild", 2007, View 2.
    """
    centered = _CenteredCosines(views.reshape(len(views), -1), pairs)
    numbers = np.unique(folds)
    scores, thresholds = np.empty(len(pairs)), np.empty(len(numbers))
    for i, fold in enumerate(numbers):
        held_out = folds == fold
        all_scores = centered.cosines(~held_out)
        thresholds[i] = _mean_of_best(*_sorted_sides(all_scores[~held_out], is_same[~held_out]))
        scores[held_out] = all_scores[held_out]
    limits = thresholds[np.searchsorted(numbers, folds)]
    is_correct = np.where(is_same, scores > limits, scores < limits)
    return _result(folds, thresholds, scores, is_correct)


def _insightface(
    views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> KFoldResult:
    """InsightFace's protocol for `.bin` sets.

    The feature is the sum of the embeddings of the image and of its mirror image, at unit
    length. The threshold is the first of the squared distances 0, 0.01, ..., 3.99 that is best
    on the other folds. "Same" takes a distance strictly below it. Scores and thresholds here
    are squared distances with a minus sign, so that higher is more similar.

    Reference: Deng et al., "ArcFace", CVPR 2019, and the verification code of the InsightFace
    project; Schroff et al., "FaceNet", CVPR 2015, section 4, for squared distances.
    """
    unit = vectors.normalize_rows(views.sum(axis=1, dtype=np.float64))
    scores = -vectors.pair_squared_distances(unit, pairs)
    # Of equally good thresholds the first is the smallest distance.
    candidates = 0.0 - SQUARED_DISTANCES

    def choose(same: np.ndarray, different: np.ndarray) -> float:
        num_correct = _count_above(same, candidates) + _count_up_to(different, candidates)
        return candidates[np.argmax(num_correct)]

    return _judge(scores, is_same, folds, choose, np.greater)


def _plain(
    views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> KFoldResult:
    """No refinement: the cosine of the two embeddings, without the mirror images.

    The threshold is a score of the other folds, the highest of those that are best there, or just
    above all of them where it is best to accept none. "Same" takes a score at or above it.

    Reference: Huang et al., "Labeled Faces in the Wild", 2007, View 2.
    """
    unit = vectors.normalize_rows(views[:, 0].astype(np.float64))

    def choose(same: np.ndarray, different: np.ndarray) -> float:
        # Above all scores is a candidate too: then all pairs are different.
        rising = np.unique(np.concatenate([same, different]))
        candidates = np.append(rising, np.nextafter(rising[-1], np.inf))[::-1]
        num_correct = len(same) - _count_below(same, candidates)
        num_correct += _count_below(different, candidates)
        return candidates[np.argmax(num_correct)]

    return _judge(vectors.pair_products(unit, pairs), is_same, folds, choose, np.greater_equal)


class _CenteredCosines:
    """The cosines of pairs after a mean is subtracted, without subtracting it anew each time.

    (a - m).(b - m) = a.b - a.m - b.m + m.m. The mean of all images is subtracted first, which
    changes no result and leaves m small, so that nothing is lost to rounding.
    """

    def __init__(self, features: np.ndarray, pairs: np.ndarray) -> None:
        self.features = features.astype(np.float64)
        self.features -= self.features.mean(axis=0)
        self.first, self.second = pairs.T
        self.squares = vectors.row_products(self.features, self.features)  # (N,)
        self.products = vectors.pair_products(self.features, pairs)

    def cosines(self, chosen: np.ndarray) -> np.ndarray:
        """Return (P,) of all pairs, minus the mean of both sides of the `chosen` ones (P,) bool."""
        count = len(self.features)
        weights = np.bincount(self.first[chosen], minlength=count)
        weights = weights + np.bincount(self.second[chosen], minlength=count)
        mean = weights @ self.features / weights.sum()
        with_mean, mean_square = self.features @ mean, mean @ mean
        squares = self.squares - 2 * with_mean + mean_square
        rounding = ROUNDING * (self.squares + mean_square) + ROUNDING**2 * self.squares.mean()
        squares[squares <= rounding] = 0.0
        products = self.products - with_mean[self.first] - with_mean[self.second] + mean_square
        norms = np.sqrt(squares[self.first] * squares[self.second])
        # A feature equal to the mean has no direction, and scores 0 with everything.
        cosines = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
        return np.clip(cosines, -1.0, 1.0)


def _judge(
    scores: np.ndarray,
    is_same: np.ndarray,
    folds: np.ndarray,
    choose: Callable[[np.ndarray, np.ndarray], float],
    accepts: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> KFoldResult:
    """Choose the threshold of each fold by the sorted scores of both kinds of the others."""
    numbers = np.unique(folds)
    others = [folds != fold for fold in numbers]
    sides = [_sorted_sides(scores[other], is_same[other]) for other in others]
    thresholds = np.array([choose(*side) for side in sides])
    limits = thresholds[np.searchsorted(numbers, folds)]
    return _result(folds, thresholds, scores, accepts(scores, limits) == is_same)


def _result(
    folds: np.ndarray, thresholds: np.ndarray, scores: np.ndarray, is_correct: np.ndarray
) -> KFoldResult:
    numbers = np.unique(folds)
    accuracies = np.array([is_correct[folds == fold].mean() for fold in numbers])
    return KFoldResult(numbers, thresholds, accuracies, scores, is_correct)


def _mean_of_best(same: np.ndarray, different: np.ndarray) -> float:
    num_correct = _count_above(same, COSINE_THRESHOLDS)
    num_correct += _count_below(different, COSINE_THRESHOLDS)
    return float(np.mean(COSINE_THRESHOLDS[num_correct == num_correct.max()]))


def _sorted_sides(scores: np.ndarray, is_same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.sort(scores[is_same]), np.sort(scores[~is_same])


def _count_above(rising: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return len(rising) - _count_up_to(rising, thresholds)


def _count_up_to(rising: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.searchsorted(rising, thresholds, side="right")


def _count_below(rising: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.searchsorted(rising, thresholds, side="left")


def _check_shapes(
    views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> None:
    arrays = {"views": views, "pairs": pairs, "is_same": is_same, "folds": folds}
    has_pairs = pairs.ndim == 2 and pairs.shape[1] == 2
    if views.ndim != 3 or not has_pairs or not is_same.shape == folds.shape == pairs.shape[:1]:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(
            "Expected views of shape (N, V, D), pairs (P, 2), is_same (P,) and folds (P,). "
            f"Received: {shapes}"
        )
    if len(pairs) and not 0 <= pairs.min() <= pairs.max() < len(views):
        raise ValueError(
            f"`pairs` must hold rows from 0 to {len(views) - 1}. Received: {pairs.min()} to "
            f"{pairs.max()}"
        )
