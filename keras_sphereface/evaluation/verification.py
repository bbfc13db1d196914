"""Verification of pairs of faces by their embeddings."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.data.pairs import lfw
from keras_sphereface.data.pairs.lfw import identity_of_key
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.intervals import Band, pair_identities, verification_intervals
from keras_sphereface.evaluation.verification_metrics import (
    AccuracySummary,
    Criterion,
    FoldMetrics,
    VerificationMetrics,
)
from keras_sphereface.metrics import protocols, roc, separability
from keras_sphereface.utils.text import counted

DEFAULT_PROTOCOL = "sphereface"
Angles = separability.ClassAngles | separability.PairAngles


class Verification(NamedTuple):
    """The result on the P complete pairs, with what its numbers come from.

    Example:
        >>> Verification._fields
        ('metrics', 'protocol', 'curve', 'result', 'pairs', 'band')
    """

    metrics: VerificationMetrics
    protocol: str
    curve: roc.Roc
    result: protocols.KFoldResult
    pairs: lfw.Pairs  # the complete ones
    band: Band | None = None  # intervals of the TAR along the curve, if there are draws


def complete_pairs(pairs: lfw.Pairs, missing: Mapping[str, str], file: str = "") -> np.ndarray:
    """Return which pairs have both of their faces, (P,) bool.

    Args:
        pairs: All pairs.
        missing: {key: reason} of the faces without an embedding.
        file: Path of the pairs, for error messages.

    Raises:
        ValueError: If no pair is complete, or none of a fold.
    """
    prefix = f"{file}: " if file else ""
    both = zip(pairs.first, pairs.second, strict=True)
    complete = np.array([a not in missing and b not in missing for a, b in both])
    if not complete.any():
        example = "".join(f", the first {key}: {why}" for key, why in list(missing.items())[:1])
        raise ValueError(
            f"{prefix}No pair has both of its faces. Received: {counted(len(complete), 'pair')}, "
            f"{len(missing)} of {counted(len(pairs.keys()), 'face')} missing{example}"
        )
    # Without the fold the mean would be one over fewer folds, and nothing would show it.
    emptied = np.setdiff1d(pairs.folds, pairs.folds[complete])
    if len(emptied):
        raise ValueError(
            f"{prefix}Every fold must keep pairs that have both of their faces. Received: none in "
            f"fold {emptied[0]}, with {counted(len(missing), 'face')} missing"
        )
    return complete


def verify_pairs(
    pairs: lfw.Pairs,
    embeddings: Embeddings,
    protocol: str = DEFAULT_PROTOCOL,
    replicates: int = 0,
    seed: int = 0,
    file: str = "",
    has_names: bool = False,
) -> Verification:
    """Judge the complete pairs by a protocol.

    Args:
        pairs: All pairs.
        embeddings: Embeddings of their faces, with the reasons why others are missing.
        protocol: String. Name of the protocol: "sphereface", "insightface" or "plain".
        replicates: Int. Bootstrap draws for the intervals; 0 computes none.
        seed: Int. Seed of the bootstrap.
        file: Path of the pairs, for error messages.
        has_names: Bool. Whether keys name the identity; the intervals are then by identity.

    Raises:
        ValueError: If no pair is complete, or the protocol cannot judge the complete ones.

    Example:
        >>> from keras_sphereface.data.pairs.lfw import Pairs
        >>> first, second = ["a", "a", "b", "b"], ["a2", "b", "b2", "a2"]
        >>> pairs = Pairs(first, second, np.array([True, False] * 2), np.array([1, 1, 2, 2]))
        >>> views = np.array([[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]], [[0.1, 0.9]]])
        >>> embeddings = Embeddings(["a", "a2", "b", "b2"], views, {})
        >>> verify_pairs(pairs, embeddings).metrics.accuracy_mean
        1.0
    """
    complete = complete_pairs(pairs, embeddings.missing, file)
    used = pairs.select(complete)
    try:
        results = _k_fold_by_protocol(used, embeddings, protocol)
    except ValueError as error:
        prefix = f"{file}: " if file else ""
        if embeddings.missing:
            prefix += f"{counted(len(embeddings.missing), 'face is', 'faces are')} missing. "
        raise ValueError(f"{prefix}{error}") from error
    result = results[protocol]
    curve = roc.roc_curve(result.scores, used.is_same)
    num_mismatched = int(np.sum(~used.is_same))
    num_correct, num_left_out = int(result.is_correct.sum()), int(np.sum(~complete))
    identities = pair_identities(used) if has_names else None
    by_identity, by_pair, band = verification_intervals(result, used, replicates, seed, identities)
    metrics = VerificationMetrics(
        **vars(_summarize(result)),
        folds=_fold_metrics(result),
        auc=roc.auc_score(curve),
        eer=roc.equal_error_rate(curve),
        tar_at_far=values_by_far(functools.partial(roc.tar_at_far, curve), num_mismatched),
        threshold_at_far=values_by_far(
            functools.partial(roc.threshold_at_far, curve), num_mismatched
        ),
        intervals=by_identity,
        pair_intervals=by_pair,
        num_pairs=len(used.first),
        num_matched=int(used.is_same.sum()),
        num_mismatched=num_mismatched,
        num_pairs_left_out=num_left_out,
        accuracy_bounds=(
            num_correct / len(complete),
            (num_correct + num_left_out) / len(complete),
        ),
        missing=embeddings.missing,
        protocol=f"{protocol}: {PROTOCOLS[protocol].description}",
        score_unit=PROTOCOLS[protocol].unit,
        num_views=embeddings.views.shape[1],
        accuracy_by_protocol={name: _summarize(results[name]) for name in PROTOCOLS},
    )
    return Verification(metrics, protocol, curve, result, used, band)


def _k_fold_by_protocol(
    pairs: lfw.Pairs, embeddings: Embeddings, protocol: str
) -> dict[str, protocols.KFoldResult]:
    """Return {name: result} of `protocol`, which comes first and is checked, and of all others."""
    rows = _rows_of_pairs(pairs, embeddings)
    return {
        name: protocols.k_fold(name, embeddings.views, rows, pairs.is_same, pairs.folds)
        for name in dict.fromkeys([protocol, *PROTOCOLS])
    }


def _rows_of_pairs(pairs: lfw.Pairs, embeddings: Embeddings) -> np.ndarray:
    """Return the rows of both images of each pair, (P, 2)."""
    return np.stack([embeddings.rows(side) for side in (pairs.first, pairs.second)], axis=1)


def _summarize(result: protocols.KFoldResult) -> AccuracySummary:
    return AccuracySummary(
        float(np.mean(result.accuracies)),
        float(np.std(result.accuracies)),
        protocols.standard_error(result.accuracies),
    )


def _fold_metrics(result: protocols.KFoldResult) -> tuple[FoldMetrics, ...]:
    columns = (result.folds, result.accuracies, result.thresholds)
    return tuple(
        FoldMetrics(*row) for row in zip(*(column.tolist() for column in columns), strict=True)
    )


def values_by_far(
    value: Callable[[float], float | None], num_mismatched: int
) -> dict[str, float | None]:
    """Return {FAR: value at it}; None where so many mismatched pairs do not support that FAR.

    Args:
        value: Function from a false accept rate to a number.
        num_mismatched: Int. Number of mismatched pairs; an FAR must allow one of them at least.
    """
    return {
        f"{far:g}": value(far) if roc.is_measurable(far, num_mismatched) else None
        for far in roc.FARS
    }


def measure_angles(pairs: lfw.Pairs, embeddings: Embeddings, has_names: bool) -> Angles:
    """Measure the angles within and between identities, or of matched and mismatched pairs.

    Args:
        pairs: Complete pairs of both kinds.
        embeddings: Embeddings of their images.
        has_names: Bool. Whether keys name the identity. If so, all images of the pairs are
            compared with each other.
    """
    keys = pairs.keys()
    identities = np.array([identity_of_key(key) for key in keys])
    if has_names and len(np.unique(identities)) < len(identities):
        return separability.class_angles(embeddings.features[embeddings.rows(keys)], identities)
    rows = _rows_of_pairs(pairs, embeddings)
    return separability.pair_angles(embeddings.features, rows, pairs.is_same)


def measure_criterion(angles: Angles) -> Criterion:
    """Return the numbers of SphereFace's criterion, with angles in degrees."""
    numbers = (angles.largest_intra, angles.smallest_inter, bool(angles.criterion_holds))
    if not isinstance(angles, separability.ClassAngles):
        return Criterion("pairs", *numbers)
    num_several = int(np.isfinite(angles.largest_intra_by_class).sum())
    num_identities = len(angles.classes)
    return Criterion("identities", *numbers, num_identities, num_several, angles.share_of_classes)
