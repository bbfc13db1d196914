"""False match rates beyond the listed pairs: all pairs of their images, and extrapolations.

Reference: ISO/IEC 5152, biometric performance estimation by statistical models.
"""

from collections.abc import Sequence

import numpy as np

from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.beyond_metrics import BeyondMetrics, BeyondPoint
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.metrics.all_pairs import ImpostorTail, genuine_scores, impostor_tail
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.dyadic import rate_interval
from keras_sphereface.metrics.extreme_value import (
    MIN_EXCEEDANCES,
    ParetoTail,
    fit_pareto_tail,
)
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs, bootstrap_by_identity

FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
MAX_IMAGES = 20_000  # 200 million pairs: some 20 seconds
# Of the mismatched pairs the highest scores are modeled: this share, and at least so many.
ALL_SHARE, ALL_LEAST = 1e-3, 1000
LISTED_SHARE = 0.1
MAX_REPLICATES = 200  # each takes some milliseconds for ten thousand scores


def measure_beyond(
    embeddings: Embeddings,
    keys: Sequence[str],
    listed_scores: np.ndarray,
    replicates: int = 0,
    seed: int = 0,
) -> BeyondMetrics | None:
    """Measure false match rates on all pairs of images, and extrapolate further.

    Args:
        embeddings: Embeddings of the images.
        keys: Images of the listed pairs, of keys that name identities; those without an embedding
            are left out.
        listed_scores: (P,) cosines of the listed mismatched pairs.
        replicates: Int. Draws of identities for the intervals of extrapolations, of which 200 at
            most are made; 0 computes none.
        seed: Int. Seed of the draws.

    Returns:
        The rates; None with more than 20,000 images, or where no identity has two.

    Example:
        >>> keys = [f"p{i // 2}/{i}.jpg" for i in range(60)]
        >>> views = np.random.default_rng(0).normal(size=(60, 1, 8))
        >>> measure_beyond(Embeddings(keys, views, {}), keys, np.zeros(9)).num_mismatched
        1740
    """
    present = set(embeddings.keys)
    used = [key for key in keys if key in present]
    identities = np.array([identity_of_key(key) for key in used])
    if not 1 < len(np.unique(identities)) < len(used) <= MAX_IMAGES:
        return None
    features = embeddings.features[embeddings.rows(used)]
    tail = impostor_tail(features, identities)
    matched, matched_pairs = genuine_scores(features, identities)
    count = int(max(ALL_LEAST, ALL_SHARE * tail.num_pairs))
    all_fit, all_intervals = _extrapolate(tail, count, replicates, seed)
    num_highest = int(LISTED_SHARE * len(listed_scores))
    listed_fit = _fit(np.sort(listed_scores)[::-1][: num_highest + 1], len(listed_scores))
    points = []
    for i, fmr in enumerate(FMRS):
        threshold = tail.threshold(fmr)
        rejected = None if threshold is None else matched < threshold
        listed = _threshold(listed_fit, fmr)
        told = listed if listed is not None and listed >= tail.scores[-1] else None
        points.append(
            BeyondPoint(
                fmr=fmr,
                threshold=threshold,
                threshold_interval=tail.threshold_interval(fmr),
                fnmr=None if rejected is None else float(rejected.mean()),
                fnmr_interval=None if rejected is None else rate_interval(rejected, matched_pairs),
                extrapolated_threshold=_threshold(all_fit, fmr),
                extrapolated_interval=all_intervals[i] if all_intervals else None,
                listed_threshold=listed,
                listed_fmr=None if told is None else tail.fmr(told),
                listed_fmr_interval=None if told is None else tail.fmr_interval(told),
            )
        )
    return BeyondMetrics(
        num_images=len(used),
        num_identities=len(np.unique(identities)),
        num_matched=len(matched),
        num_mismatched=tail.num_pairs,
        num_listed_mismatched=len(listed_scores),
        points=tuple(points),
    )


def _fit(falling_scores: np.ndarray, num_pairs: int) -> ParetoTail | None:
    """Fit the highest scores, those above the last; None where they are too few, or all one."""
    if len(falling_scores) <= MIN_EXCEEDANCES or falling_scores[0] == falling_scores[-1]:
        return None
    return fit_pareto_tail(falling_scores, num_pairs)


def _extrapolate(
    tail: ImpostorTail, count: int, replicates: int, seed: int
) -> tuple[ParetoTail | None, list[Interval | None]]:
    """Fit the tail of all pairs; return it, and the intervals of its thresholds by identity."""
    scores = tail.scores[: count + 1].astype(np.float64)
    fit = _fit(scores, tail.num_pairs)
    if fit is None or not replicates:
        return fit, []
    pairs = IdentityPairs(tail.first[: count + 1], tail.second[: count + 1], len(tail.num_images))

    def thresholds(weights: np.ndarray) -> list[float]:
        try:
            drawn = fit_pareto_tail(scores, tail.num_pairs, weights)
        except ValueError:  # a draw may keep too few
            return [float("nan")] * len(FMRS)
        return [drawn.threshold(fmr) for fmr in FMRS]

    rng = np.random.default_rng(seed)
    draws = bootstrap_by_identity(thresholds, pairs, min(replicates, MAX_REPLICATES), rng)
    intervals = [draws.interval(i) for i in range(len(FMRS))]
    return fit, [None if np.isnan(one.low) else one for one in intervals]


def _threshold(fit: ParetoTail | None, fmr: float) -> float | None:
    """Return the threshold of a fit; None without one, or where the rate is above its start."""
    return None if fit is None or fmr > fit.share else fit.threshold(fmr)
