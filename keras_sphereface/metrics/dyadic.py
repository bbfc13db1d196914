"""Intervals of a share of pairs, for example of wrong ones, that know that pairs share identities.

No draws are needed: the variance of a mean of pairs is a sum over identities. It counts the
covariance of any two pairs with an identity in common, each once.

References: Aronow, Samii and Assenova, "Cluster-robust variance estimation for dyadic data",
Political Analysis 2015, equation 4; Fogliato, Patil and Perona, "Confidence intervals for error
rates in matching tasks", 2023, for both formulas.
"""

import numpy as np

from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.metrics.identity_bootstrap import IdentityPairs, Z

# A variance that is this share of that of independent pairs is what is left of sums that cancel.
ROUNDING = 1e-9


def dyadic_variance(values: np.ndarray, pairs: IdentityPairs) -> float:
    """Return the variance of the mean of values (P,) of pairs, all matched or all mismatched.

    For deviations e_ij from the mean, summed over the pairs of the identities i and j, it is
    (sum over i of (sum over j of e_ij)^2 - sum over pairs i < j of e_ij^2) / P^2, where the first
    sum counts each mismatched e_ij^2 twice; never less than (sum of e_ij^2) / P^2, as if no two
    pairs of identities had anything in common. For matched pairs it is the sum of e_ii^2 / P^2.

    Raises:
        ValueError: if there are no pairs, or pairs of both kinds.

    Example:
        >>> pairs = IdentityPairs.from_names(["a", "a", "b"], ["b", "c", "c"])
        >>> round(dyadic_variance(np.array([1.0, 1.0, 0.0]), pairs), 4)
        0.0741
    """
    is_same = pairs.is_same
    if len(values) == 0 or is_same.any() != is_same.all():
        raise ValueError(
            "The pairs must be all matched or all mismatched, one or more. "
            f"Received: {np.sum(is_same)} matched and {np.sum(~is_same)} mismatched"
        )
    errors = np.asarray(values, np.float64) - np.mean(values)
    of_dyads = np.bincount(pairs.dyads()[0], weights=errors)
    own = np.sum(np.square(of_dyads))
    if is_same.all():
        return float(own) / len(errors) ** 2
    sides = (pairs.first, pairs.second)
    of_identities = sum(
        np.bincount(side, weights=errors, minlength=pairs.num_identities) for side in sides
    )
    return float(max(np.sum(np.square(of_identities)) - own, own)) / len(errors) ** 2


def rate_interval(is_wrong: np.ndarray, pairs: IdentityPairs) -> Interval:
    """Return the 95 % interval of the share of wrong pairs, all matched or all mismatched.

    It is Wilson's interval with as many independent pairs as would have the variance of
    `dyadic_variance` (`effective_count`). Where none or all are wrong, nothing tells how alike
    pairs of an identity are; the number of identity pairs is taken, and the interval is rather too
    narrow.

    Args:
        is_wrong: (P,) bool.
        pairs: Identities of the pairs.

    Raises:
        ValueError: as `dyadic_variance`.

    Example:
        >>> pairs = IdentityPairs.from_names(list("abcd"), list("abcd"))
        >>> interval = rate_interval(np.array([True, False, False, False]), pairs)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.046, 0.699)
    """
    rate, variance = float(np.mean(is_wrong)), dyadic_variance(is_wrong, pairs)
    count = effective_count(rate, variance, len(is_wrong), pairs.dyads()[1])
    return wilson_interval(rate, count)


def effective_count(rate: float, variance: float, num_pairs: int, num_dyads: int) -> float:
    """Return the number of independent pairs whose rate would have this variance.

    It is the number of identity pairs where nothing tells a variance: where all pairs are of two
    identities, none or all are wrong, or the deviations cancel but for rounding.

    Args:
        rate: Float. Share of wrong pairs.
        variance: Float. Its variance, robust to dyadic clusters.
        num_pairs: Int. P, number of pairs.
        num_dyads: Int. Number of identity pairs.

    Example:
        >>> round(effective_count(0.1, 0.001, num_pairs=400, num_dyads=100), 9)
        90.0
        >>> effective_count(0.1, 0.001, num_pairs=400, num_dyads=1)
        1
    """
    independent = rate * (1 - rate)
    if num_dyads < 2 or variance * num_pairs <= ROUNDING * independent:
        return num_dyads
    return independent / variance


def wilson_interval(rate: float, count: float) -> Interval:
    """Return Wilson's 95 % interval of a rate, 0 to 1, measured on `count` > 0 independent trials.

    Reference: Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 1927.

    Example:
        >>> interval = wilson_interval(0.0, 3000)
        >>> interval.low, round(interval.high, 5)
        (0.0, 0.00128)
    """
    center, half = (
        rate + Z**2 / (2 * count),
        Z * np.sqrt((rate * (1 - rate) + Z**2 / (4 * count)) / count),
    )
    ends = (center - half, center + half)
    low, high = (float(np.clip(end / (1 + Z**2 / count), 0.0, 1.0)) for end in ends)
    # Rounding leaves 1e-19 of what is zero.
    return Interval(0.0 if rate == 0 else low, 1.0 if rate == 1 else high)
