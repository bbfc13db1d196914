"""Error rates of groups of identities, and how far apart they are.

A rate of a pair of groups is over the comparisons of an image of one with an image of the other;
within a group both are of it. Uncertainty comes from identities that are drawn anew: each draw
gives every identity a count, and a comparison the product of the counts of its two identities, or
the count of its only one.
"""

import math

import numpy as np

from keras_sphereface.metrics.bootstrap import CONFIDENCE, Interval
from keras_sphereface.metrics.identity_bootstrap import IdentityBootstrap, pair_weights


def gini(rates: np.ndarray) -> np.ndarray:
    """Return the Gini coefficient of the rates of n >= 2 groups: 0 where equal, 1 if one has all.

    n / (n - 1) * sum_ij |x_i - x_j| / (2 n^2 mean(x)); the first factor lets a few groups reach 1.

    Args:
        rates: (..., n), not negative. Rates that are all zero are equal.

    Returns:
        (...), 0 to 1.

    Reference: Howard et al., "Evaluating Proposed Fairness Models for Face Recognition Algorithms",
    2022, the coefficient of GARBE.

    Example:
        >>> gini(np.array([[0.1, 0.1, 0.1], [0.0, 0.0, 0.3]])).tolist()
        [0.0, 1.0]
    """
    rates = np.asarray(rates, np.float64)
    count = rates.shape[-1]
    differences = np.abs(rates[..., :, None] - rates[..., None, :]).sum(axis=(-1, -2))
    means = rates.mean(axis=-1)
    scale = 2 * count * (count - 1) * means
    return np.divide(differences, scale, out=np.zeros_like(differences), where=scale != 0)


def garbe(fmr: np.ndarray, fnmr: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Return the Gini aggregation rate for biometric equitability (GARBE): 0 fair, 1 unfair.

    alpha * gini(FMR) + (1 - alpha) * gini(FNMR).

    Args:
        fmr: (..., n) false match rates of n >= 2 groups, at one threshold.
        fnmr: (..., n) false non-match rates of n >= 2 groups; n may differ.
        alpha: Float in [0, 1]. Weight of the false match rates.

    Reference: Howard et al., "Evaluating Proposed Fairness Models for Face Recognition Algorithms",
    2022.

    Example:
        >>> float(garbe(np.array([0.001, 0.003]), np.array([0.05, 0.05])))
        0.25
    """
    return alpha * gini(fmr) + (1 - alpha) * gini(fnmr)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the ratio of rates; infinite where only the lower one is zero, 1 where both are.

    Example:
        >>> ratio(np.array([0.04, 0.04, 0.0]), np.array([0.01, 0.0, 0.0])).tolist()
        [4.0, inf, 1.0]
    """
    # A nan, where a draw has no comparison of a group, stays one.
    without = np.where(np.isnan(above + below), np.nan, np.where(above > 0, np.inf, 1.0))
    return np.divide(above, below, out=without, where=below > 0)


def geometric_mean(rates: np.ndarray) -> np.ndarray:
    """Return the geometric mean (...) of the rates (..., n) of groups; zero if one is.

    The highest rate by it depends on one lucky group less than the highest by the lowest rate does.

    Reference: Grother, "FRVT Part 8: Summarizing Demographic Differentials", NIST IR 8429, 2022.

    Example:
        >>> geometric_mean(np.array([[0.01, 0.04], [0.0, 0.04]])).round(6).tolist()
        [0.02, 0.0]
    """
    # Draws move a rate below zero by rounding alone.
    rates = np.maximum(np.asarray(rates, np.float64), 0.0)
    with np.errstate(divide="ignore"):
        return np.exp(np.log(rates).mean(axis=-1))


def count_by_groups(
    pairs: np.ndarray,
    identities: np.ndarray,
    groups: np.ndarray,
    num_groups: int,
    counts: np.ndarray,
) -> np.ndarray:
    """Count comparisons by the groups of their two images, in each draw of identities.

    Args:
        pairs: (P, 2) int, rows of the two images of each comparison.
        identities: (N,) int from 0, the identity of each image.
        groups: (N,) int from 0, the group of each image; -1 where unknown.
        num_groups: Int. Number of groups, G.
        counts: (R, I) int, how often each identity was drawn.

    Returns:
        (R, G, G), symmetric. Comparisons with an image of an unknown group are left out.

    Example:
        >>> pairs, groups = np.array([(0, 1), (0, 2)]), np.array([0, 0, 1])
        >>> counts = np.array([[1, 1, 1], [2, 1, 0]])
        >>> count_by_groups(pairs, np.arange(3), groups, 2, counts).tolist()
        [[[1, 1], [1, 0]], [[2, 0], [0, 0]]]
    """
    pairs = pairs[(groups[pairs] >= 0).all(axis=1)]
    low, high = np.sort(groups[pairs], axis=1).T
    cells = low * num_groups + high
    first, second = identities[pairs].T
    flat = np.zeros((len(counts), num_groups**2), np.int64)
    for row, drawn in zip(flat, np.asarray(counts), strict=True):
        weights = pair_weights(drawn, first, second)
        row += np.bincount(cells, weights, minlength=num_groups**2).astype(np.int64)
    table = flat.reshape(-1, num_groups, num_groups)
    return table + np.triu(table, k=1).swapaxes(1, 2)


def count_all_mismatched(
    identities: np.ndarray, groups: np.ndarray, num_groups: int, counts: np.ndarray
) -> np.ndarray:
    """Count all mismatched comparisons of N images, as `count_by_groups` does, without a list.

    Args:
        identities: (N,) int from 0, the identity of each image.
        groups: (N,) int from 0, the group of each image; -1 where unknown.
        num_groups: Int. Number of groups, G.
        counts: (R, I) int, how often each identity was drawn.

    Returns:
        (R, G, G), symmetric.

    Example:
        >>> identities, groups = np.array([0, 0, 1, 2]), np.array([0, 0, 0, 1])
        >>> count_all_mismatched(identities, groups, 2, np.ones((1, 3), int)).tolist()
        [[[2, 3], [3, 0]]]
    """
    counts = np.asarray(counts, np.int64)
    images = np.zeros((counts.shape[1], num_groups), np.int64)  # of an identity in a group
    known = groups >= 0
    np.add.at(images, (identities[known], groups[known]), 1)
    totals = counts @ images  # (R, G)
    ordered = totals[:, :, None] * totals[:, None, :]
    within = (images[:, :, None] * images[:, None, :]).reshape(len(images), -1)
    ordered -= (counts**2 @ within).reshape(ordered.shape)
    # Within a group each comparison was counted from both of its images.
    both = np.arange(num_groups)
    ordered[:, both, both] //= 2
    return ordered


def squared_errors(
    pairs: np.ndarray, identities: np.ndarray, groups: np.ndarray, num_groups: int
) -> np.ndarray:
    """Return the sum of squares of the numbers of errors of each two identities, (G, G), symmetric.

    Args:
        pairs: (F, 2) int, rows of the two images of each mismatched comparison that is an error.
        identities: (N,) int from 0, the identity of each image.
        groups: (N,) int from 0, the group of each image; -1 where unknown.
        num_groups: Int. Number of groups, G.

    Example:
        >>> pairs, identities = np.array([(0, 2), (1, 2), (0, 3)]), np.array([0, 0, 1, 2])
        >>> squared_errors(pairs, identities, np.zeros(4, int), 1)
        array([[5]])
    """
    pairs = pairs[(groups[pairs] >= 0).all(axis=1)]
    low, high = np.sort(identities[pairs], axis=1).T
    cells = np.sort(groups[pairs], axis=1) @ [num_groups, 1]
    dyads, counts = np.unique(np.stack([low, high, cells]), axis=1, return_counts=True)
    sums = np.bincount(dyads[2], counts**2, minlength=num_groups**2).astype(np.int64)
    table = sums.reshape(num_groups, num_groups)
    return table + np.triu(table, k=1).T


def contracted(rates: np.ndarray, own_variance: np.ndarray) -> np.ndarray:
    """Move draws of rates of mismatched comparisons toward the rates until their spread is right.

    In a draw a comparison of two identities counts by a product, whose variance is 3 in place of 1.
    Where errors are few, each of other identities, intervals would be nearly twice as wide as they
    should be; twice the variance of the identity pairs themselves is taken away.

    Args:
        rates: (R + 1, ...), those measured first, then R draws.
        own_variance: (...) variance of the rates if all pairs of identities were independent.

    References: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007; Aronow, Samii
    and Assenova, "Cluster-robust variance estimation for dyadic data", Political Analysis 2015.

    Example:
        >>> draws = np.array([0.5, 0.1, 0.9])
        >>> contracted(draws, np.array(0.04)).round(3).tolist()
        [0.5, 0.217, 0.783]
    """
    if len(rates) == 1:
        return rates
    # A draw without comparisons of a group counts as no change.
    received = np.var(np.where(np.isnan(rates), rates[0], rates)[1:], axis=0)
    wanted = np.maximum(received - 2 * own_variance, own_variance)
    ratio = np.divide(wanted, received, out=np.ones_like(received), where=received > 0)
    return rates[0] + (rates - rates[0]) * np.sqrt(np.minimum(ratio, 1.0))


def middle_interval(values: np.ndarray) -> Interval | None:
    """Return the middle 95 % of the draws (R,) that have a value; None if none has.

    Draws may be infinite.

    Example:
        >>> middle_interval(np.append(np.arange(101.0), np.nan))
        Interval(low=2.0, high=98.0)
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    rising, last = np.sort(values), len(values) - 1
    # Not between two draws, outwards: of an infinite one there is no middle.
    low = rising[math.floor(last * (1 - CONFIDENCE) / 2)]
    high = rising[math.ceil(last * (1 + CONFIDENCE) / 2)]
    return Interval(float(low), float(high))


def log_odds_interval(rates: np.ndarray) -> Interval | None:
    """Return the 95 % interval of a rate, by the spread of the log-odds of its draws.

    Where errors are few it reaches further up than down; the middle of the draws would be too low.

    Args:
        rates: (R + 1,), that measured first, then R draws; nan where a draw has no comparison.

    Returns:
        None without draws.

    Example:
        >>> interval = log_odds_interval(np.array([0.1, 0.08, 0.1, 0.12]))
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.072, 0.137)
    """
    draws = rates[1:][~np.isnan(rates[1:])][:, None]
    if len(draws) == 0:
        return None
    return IdentityBootstrap(rates[:1], draws, draws, len(draws)).rate_interval(0)


def no_error_interval(num_independent: int) -> Interval:
    """Return the interval of a rate of which no error was seen, of so many independent trials.

    Draws of what has no error have none either; the upper end is the highest rate that still gives
    no error with a probability of 2.5 % (Clopper and Pearson, 1934).

    Example:
        >>> no_error_interval(100)
        Interval(low=0.0, high=0.036...)
    """
    return Interval(0.0, float(1 - ((1 - CONFIDENCE) / 2) ** (1 / max(num_independent, 1))))
