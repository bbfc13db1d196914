"""Several models on the same pairs: paired differences of their measures, with intervals.

Two intervals that overlap do not show that two models are equal: both models find the same pairs
hard, and their measures vary together. Here every draw of identities judges all models, and the
interval is that of the difference itself.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.intervals import pair_identities, pair_statistic
from keras_sphereface.evaluation.verification import Verification
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs, bootstrap_by_identity
from keras_sphereface.metrics.protocols import KFoldResult


@dataclasses.dataclass(frozen=True)
class ModelDifference:
    """A measure of one model minus that of another, on the same pairs.

    Attributes:
        set: Name of the set of pairs.
        first: Name of the model.
        second: Name of the model whose measure is subtracted.
        measure: "accuracy", "auc", "eer", or "0.01" for the true accept rate at this FAR.
        difference: Float. Measure of `first` minus measure of `second`; rates are fractions.
        interval: 95 % interval by identity; None where pairs name no identities.
        pair_interval: 95 % interval that takes pairs for independent, which is too narrow where an
            identity is in several pairs.
        p_value: Float in (0, 1]. Two-sided, of "there is no difference", from the draws by
            identity, or by pair where pairs name no identities.
        num_pairs: Int. Pairs that both models judged.

    Example:
        >>> ModelDifference("lfw", "m = 4", "softmax", "auc", 0.03, Interval(0.01, 0.05),
        ...     Interval(0.02, 0.04), 0.002, 6000).difference
        0.03
    """

    set: str
    first: str
    second: str
    measure: str
    difference: float
    interval: Interval | None
    pair_interval: Interval
    p_value: float
    num_pairs: int


def compare_models(
    set_name: str,
    verifications: Sequence[tuple[str, Verification]],
    has_names: bool,
    replicates: int,
    seed: int,
) -> list[ModelDifference]:
    """Compare every two models on the pairs that all of them judged.

    Args:
        set_name: Name of the set of pairs.
        verifications: (name, result) of two models or more, on the same set.
        has_names: Bool. Whether the first folder of a key names the identity; if not, pairs are
            drawn instead of identities.
        replicates: Int. Number of draws, >= 1.
        seed: Int. Seed of the draws.

    Raises:
        ValueError: if no pair was judged by all, or only pairs of one kind.

    Example:
        >>> from keras_sphereface.evaluation.embeddings import Embeddings
        >>> from keras_sphereface.evaluation.verification import verify_pairs
        >>> first, second = ["a/1", "a/1", "b/1", "b/1"], ["a/2", "b/1", "b/2", "a/2"]
        >>> pairs = lfw.Pairs(first, second, np.array([True, False] * 2), np.array([1, 1, 2, 2]))
        >>> keys = ["a/1", "a/2", "b/1", "b/2"]
        >>> good = np.array([[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]], [[0.1, 0.9]]])
        >>> results = [(name, verify_pairs(pairs, Embeddings(keys, views, {})))
        ...     for name, views in (("m = 4", good), ("softmax", good[[0, 2, 1, 3]]))]
        >>> compare_models("toy", results, True, 10, 0)[0].difference
        1.0
    """
    common = _common_rows([verification.pairs for _, verification in verifications])
    pairs = verifications[0][1].pairs.select(_mask(common[0], verifications[0][1]))
    statistics = [
        pair_statistic(_select(verification.result, rows), pairs.is_same, pairs.folds)
        for (_, verification), rows in zip(verifications, common, strict=True)
    ]
    two = list(itertools.combinations(range(len(statistics)), 2))

    def differences(weights: np.ndarray) -> np.ndarray:
        values = [np.array(statistic.of_weights(weights)) for statistic in statistics]
        return np.concatenate([values[i] - values[j] for i, j in two])

    drawn = bootstrap_by_identity(
        differences, _identities(pairs, has_names), replicates, np.random.default_rng(seed)
    )
    columns = enumerate(itertools.product(two, statistics[0].names))
    return [
        ModelDifference(
            set=set_name,
            first=verifications[i][0],
            second=verifications[j][0],
            measure=name,
            difference=float(drawn.estimates[column]),
            interval=drawn.interval(column) if has_names else None,
            pair_interval=drawn.pair_interval(column),
            p_value=drawn.p_value(column),
            num_pairs=len(pairs.first),
        )
        for column, ((i, j), name) in columns
    ]


def disagreements(
    first: Verification, second: Verification
) -> list[tuple[str, str, bool, float, float]]:
    """Return the pairs that one model decides right and the other wrong.

    Returns:
        (first key, second key, whether they match, lead of the first model, lead of the second)
        of each such pair, the clearest first. The lead is the distance of the score from the
        threshold, in standard deviations of the model's scores; it is negative where the decision
        is wrong.

    Example:
        >>> from keras_sphereface.evaluation.embeddings import Embeddings
        >>> from keras_sphereface.evaluation.verification import verify_pairs
        >>> first, second = ["a/1", "a/1", "b/1", "b/1"], ["a/2", "b/1", "b/2", "a/2"]
        >>> pairs = lfw.Pairs(first, second, np.array([True, False] * 2), np.array([1, 1, 2, 2]))
        >>> views = np.array([[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]], [[0.1, 0.9]]])
        >>> result = verify_pairs(pairs, Embeddings(["a/1", "a/2", "b/1", "b/2"], views, {}))
        >>> disagreements(result, result)
        []
    """
    rows = _common_rows([first.pairs, second.pairs])
    leads = [_leads(one)[of] for one, of in zip((first, second), rows, strict=True)]
    differ = np.flatnonzero((leads[0] >= 0) != (leads[1] >= 0))
    clearest = differ[np.argsort(-np.abs(leads[0] - leads[1])[differ], kind="stable")]
    at = rows[0]
    return [
        (
            first.pairs.first[at[i]],
            first.pairs.second[at[i]],
            bool(first.pairs.is_same[at[i]]),
            float(leads[0][i]),
            float(leads[1][i]),
        )
        for i in clearest
    ]


def _leads(verification: Verification) -> np.ndarray:
    """Return the distance of each score from its threshold; negative where it decides wrong."""
    result = verification.result
    distance = np.abs(result.scores - result.thresholds_of_pairs(verification.pairs.folds))
    return np.where(result.is_correct, 1, -1) * distance / max(float(np.std(result.scores)), 1e-12)


def _common_rows(all_pairs: Sequence[lfw.Pairs]) -> list[np.ndarray]:
    """Return for each model the rows of the pairs that all of them have, in one order.

    A list may hold a pair several times: the n-th of one model is the n-th of the others.
    """
    row_of = [_rows_by_pair(pairs) for pairs in all_pairs]
    common = [pair for pair in row_of[0] if all(pair in rows for rows in row_of[1:])]
    if not common:
        raise ValueError("No pair was judged by all models. Received: no pair in common")
    return [np.array([rows[pair] for pair in common]) for rows in row_of]


def _rows_by_pair(pairs: lfw.Pairs) -> dict[tuple[str, str, int, int], int]:
    """Return {(first, second, fold, how often it came before): row}."""
    seen: dict[tuple[str, str, int], int] = {}
    rows = {}
    for row, pair in enumerate(zip(pairs.first, pairs.second, pairs.folds.tolist(), strict=True)):
        rows[(*pair, seen.setdefault(pair, 0))] = row
        seen[pair] += 1
    return rows


def _mask(rows: np.ndarray, verification: Verification) -> np.ndarray:
    mask = np.zeros(len(verification.pairs.first), bool)
    mask[rows] = True
    return mask


def _select(result: KFoldResult, rows: np.ndarray) -> KFoldResult:
    return dataclasses.replace(
        result, scores=result.scores[rows], is_correct=result.is_correct[rows]
    )


def _identities(pairs: lfw.Pairs, has_names: bool) -> IdentityPairs:
    """Return the identities of the pairs; without names no two pairs share one."""
    if has_names:
        return pair_identities(pairs)
    numbers = np.arange(len(pairs.first))
    second = np.where(pairs.is_same, numbers, numbers + len(numbers))
    return IdentityPairs(numbers, second, 2 * len(numbers))
