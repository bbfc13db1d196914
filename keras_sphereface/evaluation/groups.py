"""Errors by group: false match and false non-match rates at one threshold, within and across."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from keras_sphereface.data.groups import GroupTable
from keras_sphereface.evaluation.group_metrics import (
    MIN_IDENTITIES,
    AcrossPairs,
    Differential,
    ErrorRate,
    GroupColumn,
    GroupMetrics,
    GroupRates,
    Ratio,
)
from keras_sphereface.evaluation.operating_point import ComparedImages
from keras_sphereface.evaluation.verification import Verification
from keras_sphereface.metrics import group_rates, roc
from keras_sphereface.metrics.comparisons import Comparisons, num_allowed
from keras_sphereface.metrics.identity_bootstrap import draw_identity_counts
from keras_sphereface.utils.text import counted

MAX_GROUPS = 40  # of a column; names of identities would be a group each


def measure_groups(
    table: GroupTable,
    compared: ComparedImages,
    verification: Verification,
    replicates: int,
    seed: int,
) -> GroupMetrics:
    """Measure the errors of each column of groups.

    Args:
        table: Groups of identities or images.
        compared: Images and their comparisons.
        verification: Result on the listed pairs, for those across groups.
        replicates: Int. Draws of identities; 0: no intervals.
        seed: Int. Seed of the draws.

    Example:
        >>> from keras_sphereface.evaluation.embeddings import Embeddings
        >>> from keras_sphereface.evaluation.operating_point import compare_images
        >>> from keras_sphereface.evaluation.verification import verify_pairs
        >>> from keras_sphereface.data.pairs.lfw import Pairs
        >>> pairs = Pairs(["a/1", "a/2"] * 2, ["a/2", "b/1"] * 2, np.array([True, False] * 2),
        ...     np.array([1, 1, 2, 2]))
        >>> embeddings = Embeddings(["a/1", "a/2", "b/1"], np.eye(3)[:, None], {})
        >>> table = GroupTable("groups.csv", True, {"gender": {"a": "female", "b": "male"}})
        >>> metrics = measure_groups(table, compare_images(pairs, embeddings, True),
        ...     verify_pairs(pairs, embeddings), replicates=0, seed=0)
        >>> [(rates.name, rates.is_small) for rates in metrics.columns[0].within]
        [('female', True), ('male', True)]
    """
    num_identities = int(compared.identities.max()) + 1
    drawn = draw_identity_counts(num_identities, replicates, np.random.default_rng(seed))
    # The first row counts each identity once: the rates themselves.
    counts = np.concatenate([np.ones((1, num_identities), np.int64), drawn])
    columns, notes = [], []
    for column in table.columns:
        names = table.groups_of(compared.keys, column)
        found = set(names) - {""}
        if len(found) > MAX_GROUPS or len(found) < 2:
            notes.append(
                f"The column {column} has {counted(len(found), 'group')} among these images; 2 to "
                f"{MAX_GROUPS} can be compared."
            )
            continue
        columns.append(_measure_column(column, names, compared, verification, counts))
    file = table.file.replace("\\", "/").rsplit("/", 1)[-1]
    return GroupMetrics(file, compared.point, replicates, tuple(columns), tuple(notes))


def _measure_column(
    column: str,
    names: list[str],
    compared: ComparedImages,
    verification: Verification,
    counts: np.ndarray,
) -> GroupColumn:
    sizes = pd.Series([name for name in names if name]).value_counts()
    groups = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    codes = np.array([groups.index(name) if name else -1 for name in names])
    fmr, fnmr = _count_errors(compared, codes, len(groups), counts)
    rates = {
        (g, h): _group_rates(groups, (g, h), codes, compared, fmr, fnmr)
        for g, h in itertools.combinations_with_replacement(range(len(groups)), 2)
    }
    within = tuple(rates[g, g] for g in range(len(groups)))
    fmr_differential = _differential(within, fmr, lambda one: one.fmr)
    fnmr_differential = _differential(within, fnmr, lambda one: one.fnmr)
    garbe = None
    if fmr_differential and fnmr_differential:
        garbe = _ratio(
            group_rates.garbe(
                _ranked_draws(within, fmr, lambda one: one.fmr),
                _ranked_draws(within, fnmr, lambda one: one.fnmr),
            )
        )
    return GroupColumn(
        column=column,
        num_without_group=int(np.sum(codes < 0)),
        within=within,
        across=tuple(one for (g, h), one in rates.items() if g != h),
        fmr=fmr_differential,
        fnmr=fnmr_differential,
        garbe=garbe,
        listed=_without_across(
            dict(zip(compared.keys, names, strict=True)), compared, verification
        ),
    )


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Comparisons and errors of each two groups, (G, G), and rates (R + 1, G, G).

    The first rates are those measured, the others of draws; nan without comparisons.
    """

    comparisons: np.ndarray
    errors: np.ndarray
    rates: np.ndarray


def _count_errors(
    compared: ComparedImages, codes: np.ndarray, num_groups: int, counts: np.ndarray
) -> tuple[_Counts, _Counts]:
    """Return the counts of mismatched and of matched comparisons."""
    comparisons, identities = compared.comparisons, compared.identities
    threshold = compared.point.threshold

    def count(pairs: np.ndarray) -> np.ndarray:
        return group_rates.count_by_groups(pairs, identities, codes, num_groups, counts)

    def rates(errors: np.ndarray, totals: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # without comparisons
            return errors / totals

    if compared.point.compared == "all images":
        mismatched = group_rates.count_all_mismatched(identities, codes, num_groups, counts)
    else:
        mismatched = count(comparisons.mismatched)
    false_matches = comparisons.false_matches(threshold)
    num_false_matches = count(false_matches)
    squares = group_rates.squared_errors(false_matches, identities, codes, num_groups)
    fmr = group_rates.contracted(
        rates(num_false_matches, mismatched), rates(squares, mismatched[0] ** 2)
    )
    matched = count(comparisons.matched)
    false_nonmatches = count(comparisons.matched[comparisons.false_nonmatches(threshold)])
    return (
        _Counts(mismatched[0], num_false_matches[0], fmr),
        _Counts(matched[0], false_nonmatches[0], rates(false_nonmatches, matched)),
    )


def _group_rates(
    groups: list[str],
    cell: tuple[int, int],
    codes: np.ndarray,
    compared: ComparedImages,
    fmr: _Counts,
    fnmr: _Counts,
) -> GroupRates:
    sizes = [len(np.unique(compared.identities[codes == g])) for g in cell]
    both = np.isin(codes, cell)
    identities = compared.identities
    matched = compared.comparisons.matched
    # Independent trials without an error: disjoint pairs of identities, identities with two images.
    of_cell = (np.sort(codes[matched], axis=1) == np.sort(cell)).all(axis=1)
    num_with_mates = len(np.unique(identities[matched[of_cell, 0]]))
    num_pairs = sizes[0] // 2 if cell[0] == cell[1] else min(sizes)
    return GroupRates(
        groups=tuple(groups[g] for g in dict.fromkeys(cell)),
        num_identities=len(np.unique(identities[both])),
        num_images=int(both.sum()),
        is_small=min(sizes) < MIN_IDENTITIES,
        fmr=_error_rate(fmr, cell, num_pairs),
        fnmr=_error_rate(fnmr, cell, num_with_mates),
    )


def _error_rate(counts: _Counts, cell: tuple[int, int], num_independent: int) -> ErrorRate:
    num_comparisons, num_errors = int(counts.comparisons[cell]), int(counts.errors[cell])
    if num_comparisons == 0:
        return ErrorRate(0, 0, None, None)
    interval = group_rates.log_odds_interval(counts.rates[(slice(None), *cell)])
    if num_errors == 0:
        interval = group_rates.no_error_interval(num_independent)
    return ErrorRate(num_comparisons, num_errors, num_errors / num_comparisons, interval)


def _ranked(
    within: tuple[GroupRates, ...], rate_of: Callable[[GroupRates], ErrorRate]
) -> list[int]:
    """Return the groups that are large enough and have a rate."""
    return [g for g, one in enumerate(within) if not one.is_small and rate_of(one).rate is not None]


def _ranked_draws(
    within: tuple[GroupRates, ...], counts: _Counts, rate_of: Callable[[GroupRates], ErrorRate]
) -> np.ndarray:
    """Return the rates (R + 1, n) within the ranked groups."""
    ranked = _ranked(within, rate_of)
    return counts.rates[:, ranked, ranked]


def _differential(
    within: tuple[GroupRates, ...], counts: _Counts, rate_of: Callable[[GroupRates], ErrorRate]
) -> Differential | None:
    ranked = _ranked(within, rate_of)
    if len(ranked) < 2:
        return None
    draws = _ranked_draws(within, counts, rate_of)
    worst, best = int(np.argmax(draws[0])), int(np.argmin(draws[0]))
    # The worst and the best of each draw would always differ, equal groups too: these two stay.
    return Differential(
        within[ranked[worst]].name,
        within[ranked[best]].name,
        _ratio(group_rates.ratio(draws[:, worst], draws[:, best])),
        _ratio(group_rates.ratio(draws[:, worst], group_rates.geometric_mean(draws))),
        _ratio(group_rates.gini(draws)),
    )


def _ratio(values: np.ndarray) -> Ratio:
    """Return the first value, with the interval of the others, which are draws."""
    return Ratio(float(values[0]), group_rates.middle_interval(values[1:]))


def _without_across(
    group_of: Mapping[str, str], compared: ComparedImages, verification: Verification
) -> AcrossPairs:
    pairs, scores = verification.pairs, verification.result.scores
    both = [
        (group_of.get(a, ""), group_of.get(b, ""))
        for a, b in zip(pairs.first, pairs.second, strict=True)
    ]
    is_known = np.array([bool(a and b) for a, b in both])
    is_across = np.array([a != b for a, b in both]) & is_known & ~pairs.is_same
    kept = ~is_across
    curve, auc, eer = verification.curve, None, None
    if np.any(kept & ~pairs.is_same):
        left = roc.roc_curve(scores[kept], pairs.is_same[kept])
        auc, eer = roc.auc_score(left), roc.equal_error_rate(left)
    return AcrossPairs(
        num_mismatched=int(np.sum(is_known & ~pairs.is_same)),
        num_across=int(is_across.sum()),
        auc=roc.auc_score(curve),
        auc_without=auc,
        eer=roc.equal_error_rate(curve),
        eer_without=eer,
        fnmr_without=_fnmr_within(group_of, compared),
    )


def _fnmr_within(group_of: Mapping[str, str], compared: ComparedImages) -> float | None:
    """Return the FNMR at the same FMR, over mismatched comparisons within groups alone."""
    names = [group_of[key] for key in compared.keys]
    codes = np.unique(names, return_inverse=True)[1]
    codes[np.array(names) == ""] = -1
    comparisons, point = compared.comparisons, compared.point
    sides = codes[comparisons.mismatched]
    is_within = (sides[:, 0] == sides[:, 1]) & (sides[:, 0] >= 0)
    if point.compared == "all images":
        ones = np.ones((1, int(compared.identities.max()) + 1), np.int64)
        table = group_rates.count_all_mismatched(
            compared.identities, codes, int(codes.max()) + 1, ones
        )
        num_within = int(np.trace(table[0]))
    else:
        num_within = int(is_within.sum())
    highest = Comparisons(
        comparisons.matched,
        comparisons.matched_scores,
        comparisons.mismatched[is_within],
        comparisons.mismatched_scores[is_within],
        num_within,
    )
    if num_allowed(point.fmr, num_within) >= len(highest.mismatched_scores):
        return None
    threshold = highest.threshold_at_fmr(point.fmr)
    return float(highest.false_nonmatches(threshold).mean())
