"""Calibration of scores on some identities, judged on others, for `evaluate --calibrate`."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.all_pairs_thresholds import ImageFeatures, all_pairs_thresholds
from keras_sphereface.evaluation.calibration_metrics import CalibratedThreshold, CalibrationMetrics
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.intervals import pair_identities
from keras_sphereface.metrics import calibration, roc
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.dyadic import rate_interval
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs, bootstrap_by_identity
from keras_sphereface.metrics.vectors import normalize_rows, pair_products

# At which thresholds are chosen, as far as pairs carry. Steps of two to two and a half, since a
# search in a gallery takes the next lower one: steps of ten would reject most of who is enrolled.
FMRS = (1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5, 5e-6, 2e-6, 1e-6)
MAX_DROPPED = 0.5  # of the pairs to calibrate on; beyond it folds are not what keeps people apart


class Split(NamedTuple):
    """Which of P pairs are calibrated on, and which are judged by that, both (P,) bool."""

    calibration: np.ndarray
    judged: np.ndarray


class SplitPairs(NamedTuple):
    """All splits of a set of pairs; each pair is judged once at most."""

    splits: list[Split]
    description: str
    are_apart: bool
    final: np.ndarray  # (P,) bool: the pairs that the calibration to be kept comes from


class Calibration(NamedTuple):
    """A calibration with the judged pairs that a figure shows.

    Attributes:
        metrics: The numbers.
        llrs: (J,) log-likelihood ratios of the judged pairs, in nats.
        is_same: (J,) bool.
        final: (P,) bool, the pairs that the calibration comes from.
    """

    metrics: CalibrationMetrics
    llrs: np.ndarray
    is_same: np.ndarray
    final: np.ndarray


def plain_cosines(pairs: lfw.Pairs, embeddings: Embeddings) -> np.ndarray:
    """Return the cosines (P,) of the embeddings of pairs, each joined with its mirror image's."""
    unit = normalize_rows(embeddings.features.astype(np.float64))
    rows = np.stack([embeddings.rows(side) for side in (pairs.first, pairs.second)], axis=1)
    return pair_products(unit, rows)


def calibrate_pairs(
    scores: np.ndarray,
    pairs: lfw.Pairs,
    has_names: bool,
    calibration_folds: Sequence[int] = (),
    replicates: int = 0,
    seed: int = 0,
    images: ImageFeatures | None = None,
) -> Calibration:
    """Calibrate the scores of pairs on some identities, and judge the result on others.

    Args:
        scores: (P,) cosines.
        pairs: All pairs, those to calibrate on and those to judge.
        has_names: Bool. Whether keys name the identity.
        calibration_folds: Folds to calibrate on; the others are judged. Without: each fold is
            judged by a calibration on the others or, where folds share identities, each half of
            the identities by one on the other half.
        replicates: Int. Draws of identities for the intervals; 0 computes none.
        seed: Int. Seed of the draws and of the halves.
        images: The images of the pairs, by which thresholds are chosen and judged on all of their
            pairs where the listed ones carry no false match rate so small; None: they are not.

    Raises:
        ValueError: If a side of a split has no matched or no mismatched pairs.

    Example:
        >>> pairs = lfw.read_pairs("faces/pairs.txt")
        >>> scores = np.random.default_rng(0).normal(0.3, 0.1, 56) + 0.2 * pairs.is_same
        >>> calibrated = calibrate_pairs(scores, pairs, has_names=True, calibration_folds=(1, 2, 3))
        >>> calibrated.metrics.num_judged_pairs, calibrated.metrics.identities_are_apart
        (32, True)
    """
    identities = pair_identities(pairs) if has_names else _all_different(pairs.is_same)
    split = split_pairs(pairs, identities if has_names else None, calibration_folds, seed)
    _check_kinds(split.splits, pairs.is_same)
    rng = np.random.default_rng(seed)
    judged = np.any([one.judged for one in split.splits], axis=0)
    used = judged | np.any([one.calibration for one in split.splits], axis=0)
    linear, isotonic = np.full((2, len(scores)), np.nan)
    for part in split.splits:
        chosen = scores[part.calibration], pairs.is_same[part.calibration]
        linear[part.judged] = calibration.fit_linear_calibration(*chosen).llrs(scores[part.judged])
        fitted = calibration.fit_isotonic_calibration(*chosen)
        isotonic[part.judged] = fitted.llrs(scores[part.judged])
    is_same, judged_llrs = pairs.is_same[judged], linear[judged]
    final = split.final
    kept = calibration.fit_linear_calibration(scores[final], pairs.is_same[final])
    cllr_interval = None
    if replicates:
        drawn = bootstrap_by_identity(
            lambda weights: [calibration.cllr(judged_llrs, is_same, weights)],
            _renumbered(identities.select(judged)),
            replicates,
            rng,
        )
        cllr_interval = drawn.interval(0)
    points = list(_thresholds(scores, identities, split, kept, replicates, rng))
    if has_names and images is not None:
        listed = {point.fmr for point in points}
        names = [
            (_names(pairs, one.calibration), _names(pairs, one.judged)) for one in split.splits
        ]
        rest = [fmr for fmr in FMRS if fmr not in listed]
        points += all_pairs_thresholds(images, names, _names(pairs, final), kept, rest)
    metrics = CalibrationMetrics(
        split=split.description,
        identities_are_apart=split.are_apart,
        num_pairs_dropped=int(np.sum(~used)),
        num_calibration_pairs=int(final.sum()),
        num_calibration_identities=_count(identities.select(final)) if has_names else None,
        num_judged_pairs=int(judged.sum()),
        num_judged_identities=_count(identities.select(judged)) if has_names else None,
        slope=kept.slope,
        offset=kept.offset,
        cllr=calibration.cllr(judged_llrs, is_same),
        cllr_interval=cllr_interval,
        isotonic_cllr=calibration.cllr(isotonic[judged], is_same),
        min_cllr=calibration.min_cllr(scores[judged], is_same),
        thresholds=tuple(points),
    )
    return Calibration(metrics, judged_llrs, is_same, final)


def split_pairs(
    pairs: lfw.Pairs,
    identities: IdentityPairs | None,
    calibration_folds: Sequence[int],
    seed: int,
) -> SplitPairs:
    """Return which pairs are calibrated on and which are judged; see `calibrate_pairs`."""
    numbers = np.unique(pairs.folds)
    if calibration_folds:
        judged = ~np.isin(pairs.folds, calibration_folds)
        splits = [_split_at(judged, identities)]
        folds = ", ".join(map(str, sorted(calibration_folds)))
        word = "fold" if len(calibration_folds) == 1 else "folds"
        description = f"Calibrated on {word} {folds}, tested on the others"
        return _described(splits, description, identities)
    splits = [_split_at(pairs.folds == fold, identities) for fold in numbers]
    dropped = 1 - np.sum([s.calibration for s in splits]) / ((len(numbers) - 1) * len(pairs.folds))
    if identities is None or dropped <= MAX_DROPPED:
        description = "Each fold is tested with a calibration on the others"
        return _described(splits, description, identities)
    half = np.random.default_rng(seed).permutation(identities.num_identities) % 2 == 0
    sides = [half[identities.first] & half[identities.second]]
    sides.append(~half[identities.first] & ~half[identities.second])
    splits = [Split(one, other) for one, other in (sides, sides[::-1])]
    description = "Each half of the identities is tested with a calibration on the other half"
    return _described(splits, description, identities)


def _split_at(judged: np.ndarray, identities: IdentityPairs | None) -> Split:
    """Judge these pairs (P,) by all others that share no identity with them."""
    if identities is None:
        return Split(~judged, judged)
    is_judged = np.zeros(identities.num_identities, bool)
    is_judged[identities.first[judged]] = is_judged[identities.second[judged]] = True
    return Split(~judged & ~is_judged[identities.first] & ~is_judged[identities.second], judged)


def _described(
    splits: list[Split], description: str, identities: IdentityPairs | None
) -> SplitPairs:
    final = np.any([split.calibration for split in splits], axis=0)
    if identities is None:
        description += "; these pairs name no identities, which may be on both sides"
    return SplitPairs(splits, f"{description}.", identities is not None, final)


def _check_kinds(splits: Sequence[Split], is_same: np.ndarray) -> None:
    for split in splits:
        for name, side in zip(("calibrate on", "judge"), split, strict=True):
            counts = int(np.sum(is_same[side])), int(np.sum(~is_same[side]))
            if min(counts) == 0:
                raise ValueError(
                    f"There must be matched and mismatched pairs to {name}, of identities that "
                    "are not on the other side; choose other `calibration_folds`. "
                    f"Received: {counts[0]} matched and {counts[1]} mismatched"
                )


def _thresholds(
    scores: np.ndarray,
    identities: IdentityPairs,
    split: SplitPairs,
    kept: calibration.LinearCalibration,
    replicates: int,
    rng: np.random.Generator,
) -> Iterator[CalibratedThreshold]:
    """Yield the thresholds for each false match rate that the pairs of every split carry."""
    final, is_same = identities.select(split.final), identities.is_same
    smallest = min(int(np.sum(~is_same[one.calibration])) for one in split.splits)
    fmrs = [fmr for fmr in FMRS if roc.is_measurable(fmr, smallest)]
    thresholds = _thresholds_of(scores[split.final], final.is_same, np.ones(len(final.first)), fmrs)
    intervals: list[Interval | None] = [None] * len(fmrs)
    if replicates and fmrs:
        statistic = functools.partial(_thresholds_of, scores[split.final], final.is_same, fmrs=fmrs)
        drawn = bootstrap_by_identity(statistic, _renumbered(final), replicates, rng)
        intervals = [drawn.interval(i) for i in range(len(fmrs))]
    for i, fmr in enumerate(fmrs):
        accepted, judged = np.zeros((2, len(scores)), bool)
        for part in split.splits:
            chosen, kinds = scores[part.calibration], is_same[part.calibration]
            threshold = _thresholds_of(chosen, kinds, np.ones(len(chosen)), [fmr])[0]
            accepted[part.judged] = scores[part.judged] >= threshold
            judged |= part.judged
        kinds = [judged & kind for kind in (~is_same, is_same)]
        wrong = accepted[kinds[0]], ~accepted[kinds[1]]
        yield CalibratedThreshold(
            fmr=fmr,
            threshold=float(thresholds[i]),
            threshold_interval=intervals[i],
            llr=float(kept.llrs(thresholds[i])),
            judged_fmr=float(wrong[0].mean()),
            judged_fmr_interval=rate_interval(wrong[0], identities.select(kinds[0])),
            judged_fnmr=float(wrong[1].mean()),
            judged_fnmr_interval=rate_interval(wrong[1], identities.select(kinds[1])),
        )


def _thresholds_of(
    scores: np.ndarray, is_same: np.ndarray, weights: np.ndarray, fmrs: Sequence[float]
) -> np.ndarray:
    """Return the threshold of weighted pairs for each false match rate.

    It is just above the highest mismatched score that must be rejected, so that it does not depend
    on where matched pairs happen to lie; nan where no pair may be accepted.
    """
    mismatched, counts = scores[~is_same], weights[~is_same]
    order = np.argsort(-mismatched, kind="stable")
    falling, rates = mismatched[order], np.cumsum(counts[order]) / counts.sum()
    thresholds = np.full(len(fmrs), np.nan)
    for i, fmr in enumerate(fmrs):
        # The first that makes the rate too high; of equal scores all are above it or none.
        over = int(np.searchsorted(rates, fmr * roc.RATE_TOLERANCE, side="right"))
        if over < len(falling):
            thresholds[i] = np.nextafter(falling[over], np.inf)
    return thresholds


def _names(pairs: lfw.Pairs, mask: np.ndarray) -> set[str]:
    return pairs.select(mask).identities()


def _all_different(is_same: np.ndarray) -> IdentityPairs:
    """Return identities of pairs as if no two pairs had one in common."""
    first = np.arange(len(is_same))
    return IdentityPairs(first, np.where(is_same, first, first + len(first)), 2 * len(first))


def _renumbered(pairs: IdentityPairs) -> IdentityPairs:
    """Return the same pairs with the identities that occur in them alone."""
    return IdentityPairs.from_names(pairs.first.tolist(), pairs.second.tolist())


def _count(pairs: IdentityPairs) -> int:
    return _renumbered(pairs).num_identities
