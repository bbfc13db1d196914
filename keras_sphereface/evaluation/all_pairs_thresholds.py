"""Thresholds for false match rates that listed pairs do not carry, from all pairs of their images.

As those of the list they are chosen on some identities and judged on others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.evaluation.calibration_metrics import CalibratedThreshold
from keras_sphereface.metrics.all_pairs import (
    ImpostorTail,
    genuine_scores,
    impostor_tail,
    pooled_fmr,
)
from keras_sphereface.metrics.calibration import LinearCalibration
from keras_sphereface.metrics.dyadic import rate_interval
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs

JUDGED_SHARE = 0.05  # of the judged pairs are kept: a threshold may fare worse on other identities


class ImageFeatures(NamedTuple):
    """Features (N, D) of images, and the identity (N,) that each shows."""

    features: np.ndarray
    identities: np.ndarray

    def of(self, names: set[str]) -> "ImageFeatures":
        """Return the images of these identities."""
        mask = np.isin(self.identities, sorted(names))
        return ImageFeatures(self.features[mask], self.identities[mask])


class _Judged(NamedTuple):
    """A side that chooses thresholds, and one that they are judged on."""

    chooser: ImpostorTail
    tail: ImpostorTail
    matched: np.ndarray
    matched_pairs: IdentityPairs


def all_pairs_thresholds(
    images: ImageFeatures,
    splits: Sequence[tuple[set[str], set[str]]],
    final: set[str],
    kept: LinearCalibration,
    fmrs: Sequence[float],
) -> list[CalibratedThreshold]:
    """Return thresholds for the false match rates that all pairs carry on every side.

    Args:
        images: Images of all identities.
        splits: (identities that choose, identities that are judged) of each split; no two judged
            sides share one.
        final: Identities that choose the thresholds that are kept.
        kept: Calibration for the log-likelihood ratios at the thresholds.
        fmrs: Wanted false match rates, falling.
    """
    if not fmrs:
        return []
    final_tail = impostor_tail(*images.of(final))
    sides = [
        _Judged(
            impostor_tail(*images.of(chooses)),
            impostor_tail(*images.of(judged), share=JUDGED_SHARE),
            *genuine_scores(*images.of(judged)),
        )
        for chooses, judged in splits
    ]
    points = []
    for fmr in fmrs:
        threshold = final_tail.threshold(fmr)
        thresholds = [side.chooser.threshold(fmr) for side in sides]
        if threshold is None or any(one is None for one in thresholds):
            continue
        chosen = [one for one in thresholds if one is not None]
        if any(t < side.tail.scores[-1] for t, side in zip(chosen, sides, strict=True)):
            continue
        judged_fmr, fmr_interval = pooled_fmr([side.tail for side in sides], chosen)
        rejected = np.concatenate([side.matched < t for t, side in zip(chosen, sides, strict=True)])
        points.append(
            CalibratedThreshold(
                fmr=fmr,
                threshold=threshold,
                threshold_interval=final_tail.threshold_interval(fmr),
                llr=float(kept.llrs(np.array(threshold))),
                judged_fmr=judged_fmr,
                judged_fmr_interval=fmr_interval,
                judged_fnmr=float(rejected.mean()),
                judged_fnmr_interval=rate_interval(rejected, _joined(sides)),
                is_of_all_pairs=True,
            )
        )
    return points


def _joined(sides: Sequence[_Judged]) -> IdentityPairs:
    """Return the matched pairs of all sides, with identities that differ between them."""
    starts = np.cumsum([0, *(side.matched_pairs.num_identities for side in sides)])
    codes = np.concatenate(
        [s.matched_pairs.first + start for s, start in zip(sides, starts[:-1], strict=True)]
    )
    return IdentityPairs(codes, codes, int(starts[-1]))
