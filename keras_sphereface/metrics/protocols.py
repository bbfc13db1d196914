"""The protocols by which the field turns pairs of faces into an accuracy, by name.

They differ in what is compared, in the thresholds that are tried, and in what becomes of a
score that lies on the threshold. In all of them the threshold for a fold comes from the
others. One model gets a different number from each: a number without its protocol says little.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.metrics.roc import normalize_rows

# -1, -0.9999, ..., 1: the thresholds that the authors' code tries.
COSINE_THRESHOLDS = np.arange(-10_000, 10_001) / 10_000
# InsightFace's squared distances 0, 0.01, ..., 3.99, of unit vectors.
SQUARED_DISTANCES = np.arange(0, 4, 0.01)
BLOCK = 256  # pairs compared at once: two sides of 1,024 float64 numbers fit into a cache
# A square that remains of a feature less its mean is rounding when below this part of its own, or
# below this part, squared, of what features have on average.
ROUNDING = 1e-13


class Verdict(NamedTuple):
    """What a protocol says of P pairs in F folds."""

    folds: np.ndarray  # (F,) the numbers of the folds, rising
    thresholds: np.ndarray  # (F,)
    accuracies: np.ndarray  # (F,) in [0, 1]
    scores: np.ndarray  # (P,) higher is more alike
    is_right: np.ndarray  # (P,) bool: whether the pair was told rightly

    def threshold_of(self, folds: np.ndarray) -> np.ndarray:
        """(P,) the threshold for each pair, of its fold."""
        return self.thresholds[np.searchsorted(self.folds, folds)]


class Protocol(NamedTuple):
    """A protocol: call `verify(views, pairs, is_same, folds)`."""

    verify: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Verdict]
    unit: str  # of the scores and thresholds
    description: str


def k_fold(
    protocol: str, views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, folds: np.ndarray
) -> Verdict:
    """Judge pairs by a protocol of `PROTOCOLS`.

    Args:
        protocol: its name.
        views: (N, V, D) embeddings of N images: of the image, V = 1, or also of its mirror
            image, V = 2.
        pairs: (P, 2) int, the rows of the two images of each pair.
        is_same: (P,) bool; other types are taken as truth values.
        folds: (P,) int, the fold of each pair; any number of folds from 2 on.

    Raises:
        ValueError: if the protocol is unknown, shapes do not fit, an embedding is not finite or
            zero, there is one fold only, or a fold without both kinds of pairs.
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
    return PROTOCOLS[protocol].verify(views, pairs, is_same, folds)


def _sphereface(views, pairs, is_same, folds):
    """SphereFace's protocol on LFW.

    The feature is the embedding joined with that of the mirror image. For each fold the mean
    feature of the other folds' pairs is subtracted (an image counts as often as it occurs in
    them), and the score is the cosine. The threshold is the mean of all of -1, -0.9999, ..., 1
    that are best on the other folds. "Same" takes a score strictly above it and "different" one
    strictly below: a pair on the threshold is wrong either way.

    Reference: Liu et al., "SphereFace", CVPR 2017, section 4.2, and the authors' evaluation
    code; Huang et al., "Labeled Faces in the Wild", 2007, View 2.
    """
    centered = _CenteredCosines(views.reshape(len(views), -1), pairs)
    scores, thresholds = np.empty(len(pairs)), []
    for fold in np.unique(folds):
        held_out = folds == fold
        of_all = centered.cosines(~held_out)
        thresholds.append(_mean_of_best(of_all[~held_out], is_same[~held_out]))
        scores[held_out] = of_all[held_out]
    limits = np.array(thresholds)[np.unique(folds, return_inverse=True)[1]]
    return _verdict(folds, thresholds, scores, np.where(is_same, scores > limits, scores < limits))


def _insightface(views, pairs, is_same, folds):
    """InsightFace's protocol for `.bin` sets.

    The feature is the sum of the embeddings of the image and of its mirror image, at unit
    length. The threshold is the first of the squared distances 0, 0.01, ..., 3.99 that is best
    on the other folds. "Same" takes a distance strictly below it. Scores and thresholds here
    are squared distances with a minus sign, so that higher is more alike.

    Reference: Deng et al., "ArcFace", CVPR 2019, and the verification code of the InsightFace
    project; Schroff et al., "FaceNet", CVPR 2015, section 4, for squared distances.
    """
    unit = normalize_rows(views.sum(axis=1, dtype=np.float64))
    scores = np.empty(len(pairs))
    for block in _blocks(len(pairs)):
        apart = unit[pairs[block, 0]] - unit[pairs[block, 1]]
        scores[block] = -np.einsum("pd,pd->p", apart, apart)
    # Of equally good thresholds the first is the smallest distance.
    candidates = 0.0 - SQUARED_DISTANCES

    def choose(others):
        same, different = _sorted_sides(scores[others], is_same[others])
        right = _above(same, candidates) + _not_above(different, candidates)
        return candidates[np.argmax(right)]

    thresholds = [choose(folds != fold) for fold in np.unique(folds)]
    limits = np.array(thresholds)[np.unique(folds, return_inverse=True)[1]]
    return _verdict(folds, thresholds, scores, (scores > limits) == is_same)


def _plain(views, pairs, is_same, folds):
    """No refinement: the cosine of the two embeddings, without the mirror images.

    The threshold is a score of the other folds, the highest of those that are best there, or just
    above all of them where it is best to accept none. "Same" takes a score at or above it.

    Reference: Huang et al., "Labeled Faces in the Wild", 2007, View 2.
    """
    unit = normalize_rows(views[:, 0].astype(np.float64))
    scores = np.empty(len(pairs))
    for block in _blocks(len(pairs)):
        scores[block] = _row_products(unit[pairs[block, 0]], unit[pairs[block, 1]])

    def choose(others):
        same, different = _sorted_sides(scores[others], is_same[others])
        # Above all scores is a candidate too: then all pairs are different.
        known = np.unique(scores[others])
        candidates = np.append(known, np.nextafter(known[-1], np.inf))[::-1]
        below = np.searchsorted(different, candidates, side="left")
        right = len(same) - np.searchsorted(same, candidates, side="left") + below
        return candidates[np.argmax(right)]

    thresholds = [choose(folds != fold) for fold in np.unique(folds)]
    limits = np.array(thresholds)[np.unique(folds, return_inverse=True)[1]]
    return _verdict(folds, thresholds, scores, (scores >= limits) == is_same)


PROTOCOLS = {
    "sphereface": Protocol(
        _sphereface,
        "cosine",
        "features of image and mirror image joined, mean of the other folds subtracted, cosine, "
        "threshold the mean of the best of 20,001 on the other folds, on it is wrong",
    ),
    "insightface": Protocol(
        _insightface,
        "minus squared distance",
        "features of image and mirror image added, unit length, squared distance, threshold the "
        "first best of 0, 0.01, ..., 3.99 on the other folds",
    ),
    "plain": Protocol(
        _plain,
        "cosine",
        "feature of the image alone, cosine, threshold the highest best score of the other folds",
    ),
}


class _CenteredCosines:
    """The cosines of pairs after a mean is subtracted, without subtracting it anew each time.

    (a - m).(b - m) = a.b - a.m - b.m + m.m. The mean of all images is subtracted first, which
    changes no result and leaves m small, so that nothing is lost to rounding.
    """

    def __init__(self, features, pairs):
        self.features = features.astype(np.float64)
        self.features -= self.features.mean(axis=0)
        self.first, self.second = pairs.T
        self.squares = _row_products(self.features, self.features)  # (N,)
        self.products = np.empty(len(pairs))
        for block in _blocks(len(pairs)):
            sides = (self.features[side[block]] for side in (self.first, self.second))
            self.products[block] = _row_products(*sides)

    def cosines(self, chosen):
        """(P,) of all pairs, less the mean of both sides of the `chosen` ones (P,)."""
        count = len(self.features)
        weights = np.bincount(self.first[chosen], minlength=count)
        weights = weights + np.bincount(self.second[chosen], minlength=count)
        mean = weights @ self.features / weights.sum()
        towards, square = self.features @ mean, mean @ mean
        lengths = self.squares - 2 * towards + square
        rounding = ROUNDING * (self.squares + square) + ROUNDING**2 * self.squares.mean()
        lengths[lengths <= rounding] = 0.0
        products = self.products - towards[self.first] - towards[self.second] + square
        norms = np.sqrt(lengths[self.first] * lengths[self.second])
        # What equals the mean has no direction, and scores 0 with everything.
        cosines = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
        return np.clip(cosines, -1.0, 1.0)


def _mean_of_best(scores, is_same):
    same, different = _sorted_sides(scores, is_same)
    below = np.searchsorted(different, COSINE_THRESHOLDS, side="left")
    right = _above(same, COSINE_THRESHOLDS) + below
    return float(np.mean(COSINE_THRESHOLDS[right == right.max()]))


def _sorted_sides(scores, is_same):
    return np.sort(scores[is_same]), np.sort(scores[~is_same])


def _above(ranked, thresholds):
    """How many of the rising scores lie strictly above each threshold."""
    return len(ranked) - _not_above(ranked, thresholds)


def _not_above(ranked, thresholds):
    return np.searchsorted(ranked, thresholds, side="right")


def _row_products(first, second):
    return np.einsum("nd,nd->n", first, second)


def _blocks(count):
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def _verdict(folds, thresholds, scores, is_right):
    numbers = np.unique(folds)
    accuracies = np.array([is_right[folds == fold].mean() for fold in numbers])
    return Verdict(numbers, np.array(thresholds), accuracies, scores, is_right)


def standard_error(accuracies: np.ndarray) -> float:
    """Of the mean of fold accuracies (F,): their sample deviation over the root of F.

    Reference: Huang et al., "Labeled Faces in the Wild", 2007, equations 2 and 3.
    """
    return float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies)))


def _check_shapes(views, pairs, is_same, folds):
    shapes = {"views": views.shape, "pairs": pairs.shape}
    shapes |= {"is_same": is_same.shape, "folds": folds.shape}
    of_pairs = len(pairs.shape) == 2 and pairs.shape[1] == 2
    if views.ndim != 3 or not of_pairs or not is_same.shape == folds.shape == pairs.shape[:1]:
        raise ValueError(
            "Expected views of shape (N, V, D), pairs (P, 2), is_same (P,) and folds (P,). "
            f"Received: {shapes}"
        )
    if len(pairs) and not 0 <= pairs.min() <= pairs.max() < len(views):
        raise ValueError(
            f"`pairs` must hold rows from 0 to {len(views) - 1}. Received: {pairs.min()} to "
            f"{pairs.max()}"
        )


def check_embeddings(views: np.ndarray, keys: Sequence[str] | None = None) -> None:
    """Refuse embeddings (N, V, D) that have no direction.

    Raises:
        ValueError: naming the key, or the row, of the first that is zero or not finite.
    """
    peaks = np.abs(views).max(axis=-1, initial=0.0)  # (N, V), nan where one is
    unusable = ~(np.isfinite(peaks) & (peaks > 0)).all(axis=1)
    if unusable.any():
        row = int(np.argmax(unusable))
        what = "zero" if np.isfinite(peaks[row]).all() else "nan or infinity"
        where = f"row {row}" if keys is None else keys[row]
        raise ValueError(
            "Embeddings must be finite and not zero. "
            f"Received: {what} for {where}, the first of {unusable.sum()}"
        )


def check_folds(is_same: np.ndarray, folds: np.ndarray) -> None:
    """Refuse pairs that no protocol can judge; is_same (P,) bool and folds (P,).

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
