"""Bootstrap intervals by identity: identities are drawn anew, and take their pairs with them.

An identity is in many pairs, and what makes one of them easy or hard makes the others so too. A
bootstrap that draws pairs takes them for independent, and its intervals are too narrow. Here each
draw gives identity i a count c_i, n of n with replacement. A matched pair of i then counts c_i
times: this is the bootstrap of clusters, here all matched pairs of an identity (the subsets
bootstrap of Bolle et al.). A mismatched pair of i and j counts c_i c_j times (the vertex
bootstrap).

The product has the right covariance for two pairs that share one identity, Var(c_i) = 1, but a
variance of 3 for a pair itself, where 1 is right. With all pairs of a set this does not matter, as
there the shared identities decide; with a list such as LFW's, in which an identity is in one or two
mismatched pairs, intervals would be nearly twice as wide as they should be. So a third bootstrap
draws the mismatched identity pairs alone, and twice its variance is taken away:

    variance = variance by identities - 2 (variance by mismatched identity pairs)

but never less than the variance by pairs. For a mean this is the variance that is robust to dyadic
clusters (`dyadic`). Deviations from a mean of n identities, two to a pair, vary less than those
from the truth by the factor 1 - 4 / n, which is made up for. The draws by identity are contracted
about the estimate until they have this variance. `sphereface benchmark intervals` measures how
often such intervals hold the truth.

References: Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets
bootstrap", CVIU 2004; Snijders and Borgatti, "Non-parametric standard errors and tests for network
statistics", Connections 1999; Aronow, Samii and Assenova, "Cluster-robust variance estimation for
dyadic data", Political Analysis 2015; Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 2007, for the factor 3; Fogliato, Patil and Perona, "Confidence intervals for error rates
in matching tasks", 2023.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from keras_sphereface.metrics.bootstrap import CONFIDENCE, Interval
from keras_sphereface.utils.progress import progress_bar

Statistic = Callable[[np.ndarray], Sequence[float] | np.ndarray]
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
MAX_LOG_ODDS = 100.0  # half an interval; more overflows
MAX_REDRAWS = 1000  # of a draw without any matched, or without any mismatched pair


@dataclasses.dataclass(frozen=True)
class IdentityPairs:
    """The identities of P pairs, as numbers from 0.

    Attributes:
        first: (P,) int, identity of the first face of each pair.
        second: (P,) int, identity of the second face; the same in matched pairs.
        num_identities: Int. n, number of identities in the pairs.

    Example:
        >>> pairs = IdentityPairs.from_names(["ann", "ann", "bob"], ["ann", "bob", "cid"])
        >>> pairs.first, pairs.second, pairs.num_identities
        (array([0, 0, 1]), array([0, 1, 2]), 3)
    """

    first: np.ndarray
    second: np.ndarray
    num_identities: int

    @classmethod
    def from_names(cls, first: Sequence[str], second: Sequence[str]) -> "IdentityPairs":
        """Return the pairs of identities that are given by name or number, (P,) and (P,)."""
        if len(first) != len(second) or len(first) == 0:
            raise ValueError(
                "`first` and `second` must hold an identity for each pair, one pair or more. "
                f"Received: {len(first)} and {len(second)}"
            )
        names, codes = np.unique(np.array([*first, *second]), return_inverse=True)
        return cls(codes[: len(first)], codes[len(first) :], len(names))

    @classmethod
    def unrelated(cls, is_same: np.ndarray) -> "IdentityPairs":
        """Return pairs (P,) of which no two share an identity, where it is not known who is who."""
        first = np.arange(len(is_same))
        return cls(first, np.where(is_same, first, first + len(first)), 2 * len(first))

    @property
    def is_same(self) -> np.ndarray:
        """(P,) bool, True for matched pairs."""
        return self.first == self.second

    def select(self, mask: np.ndarray) -> "IdentityPairs":
        """Return the pairs where `mask` (P,) is true; identities keep their numbers."""
        return IdentityPairs(self.first[mask], self.second[mask], self.num_identities)

    def dyads(self) -> tuple[np.ndarray, int]:
        """Return which identity pair each pair is of, (P,) from 0, and how many there are."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        names, codes = np.unique(low * self.num_identities + high, return_inverse=True)
        return codes, len(names)


def draw_identity_counts(
    num_identities: int, replicates: int, rng: np.random.Generator
) -> np.ndarray:
    """Return how often each identity is drawn, (replicates, num_identities); rows sum to it.

    Example:
        >>> draw_identity_counts(3, 2, np.random.default_rng(0)).sum(axis=1)
        array([3, 3])
    """
    return rng.multinomial(
        num_identities, np.full(num_identities, 1 / num_identities), size=replicates
    )


def pair_weights(counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how often each pair counts in a draw of identities, (P,).

    Args:
        counts: (n,) how often each identity is drawn.
        first: (P,) int, identity of the first face of each pair.
        second: (P,) int, identity of the second face of each pair.

    Example:
        >>> pair_weights(np.array([2, 3, 0]), np.array([0, 0, 1]), np.array([0, 1, 2]))
        array([2, 6, 0])
    """
    of_first = counts[first]
    return np.where(first == second, of_first, of_first * counts[second])


@dataclasses.dataclass(frozen=True)
class IdentityBootstrap:
    """R draws of M numbers, by identity and by pair.

    Attributes:
        estimates: (M,) the numbers on the pairs as they are.
        by_identity: (R, M) the numbers on the draws of identities, contracted about `estimates`
            until they have the variance that the module describes.
        by_pair: (R, M) the numbers on draws of matched and of mismatched pairs.
        num_identities: Int. Number of identities that were drawn.

    Example:
        >>> pairs = IdentityPairs.from_names(["a", "b", "a"], ["a", "b", "b"])
        >>> right = np.ones(3)
        >>> bootstrap_by_identity(
        ...     lambda weights: [np.average(right, weights=weights)], pairs, 50,
        ...     np.random.default_rng(0)).interval(0)
        Interval(low=1.0, high=1.0)
    """

    estimates: np.ndarray
    by_identity: np.ndarray
    by_pair: np.ndarray
    num_identities: int

    def interval(self, i: int) -> Interval:
        """Return the 95 % interval by identity of number i: the middle of its draws.

        For differences and other numbers without bounds; for rates see `rate_interval`.
        """
        return middle(self.by_identity[:, i])

    def rate_interval(self, i: int) -> Interval:
        """Return the 95 % interval by identity of a rate, 0 to 1, such as an AUC or TAR.

        It is that of the normal distribution for the log-odds of the rate: it stays within 0 and 1,
        and reaches further toward 0.5 than away from it, as it must, because a rate that came out
        too close to 0 or 1 also seems less variable than it is. At 0 and 1 it is the middle of the
        draws.
        """
        rate, error = self.estimates[i], self.standard_error(i)
        if not 0 < rate < 1 or np.isnan(error):
            return middle(np.clip(self.by_identity[:, i], 0.0, 1.0))
        odds, half = rate / (1 - rate), Z * error / (rate * (1 - rate))
        ends = (odds * math.exp(sign * min(half, MAX_LOG_ODDS)) for sign in (-1, 1))
        low, high = (float(end / (1 + end)) for end in ends)
        return Interval(low, high)

    def pair_interval(self, i: int) -> Interval:
        """Return the 95 % interval of number i that takes pairs for independent."""
        return middle(self.by_pair[:, i])

    def standard_error(self, i: int) -> float:
        """Return the standard deviation of number i over the draws by identity; nan if all are."""
        return float(np.sqrt(_variances(self.by_identity)[i]))

    def p_value(self, i: int) -> float:
        """Return the two-sided p-value of "number i is zero", for example of a difference.

        It is twice the share of the draws by identity on the far side of zero (at zero they are
        on both), at least 2 / (R + 1).
        """
        draws = self.by_identity[:, i]
        beyond = min(np.sum(draws <= 0), np.sum(draws >= 0))
        return float(min(1.0, 2 * (beyond + 1) / (len(draws) + 1)))


def bootstrap_by_identity(
    statistic: Statistic, pairs: IdentityPairs, replicates: int, rng: np.random.Generator
) -> IdentityBootstrap:
    """Draw numbers that follow from weighted pairs.

    Several models, measures and groups share their draws if one `statistic` returns the numbers of
    all of them and their differences: a difference of two models is then paired.

    Args:
        statistic: Function from how often each pair counts, (P,) float64, to M numbers. It may
            return nan where a group has no weight; such draws are left out.
        pairs: Identities of the P pairs.
        replicates: Int. R, the number of draws, >= 1, usually about 1,000.
        rng: Source of the draws.

    Raises:
        ValueError: if `replicates` < 1, or there are so few identities that no draw keeps pairs of
            both kinds.

    Example:
        >>> pairs = IdentityPairs.from_names(list("abcdabcd"), list("abcdbcda"))
        >>> right = np.array([1, 0, 1, 1, 1, 1, 0, 1])
        >>> drawn = bootstrap_by_identity(
        ...     lambda weights: [np.average(right, weights=weights)], pairs, 200,
        ...     np.random.default_rng(0))
        >>> drawn.estimates, drawn.interval(0).low < 0.75 < drawn.interval(0).high
        (array([0.75]), True)
    """
    if replicates < 1:
        raise ValueError(f"`replicates` must be >= 1. Received: replicates={replicates}")
    kinds = [kind for kind in (pairs.is_same, ~pairs.is_same) if kind.any()]
    mismatched = np.flatnonzero(~pairs.is_same)
    dyad_of_pair, num_dyads = (
        pairs.select(mismatched).dyads() if len(mismatched) else (mismatched, 0)
    )

    def by_identity() -> np.ndarray:
        counts = draw_identity_counts(pairs.num_identities, 1, rng)[0]
        return pair_weights(counts, pairs.first, pairs.second)

    def by_pair() -> np.ndarray:
        weights = np.zeros(len(pairs.first))
        for kind in kinds:
            weights[kind] = _draw_of(int(kind.sum()), rng)
        return weights

    def by_dyad() -> np.ndarray:
        weights = np.ones(len(pairs.first))
        weights[mismatched] = _draw_of(num_dyads, rng)[dyad_of_pair]
        return weights

    schemes = [by_identity, by_pair, *([by_dyad] if num_dyads else [])]
    drawn: list[list[np.ndarray]] = [[] for _ in schemes]
    for _ in progress_bar(range(replicates), unit="draw", desc="bootstrap by identity", brief=True):
        for draw, values in zip(schemes, drawn, strict=True):
            weights = _with_both_kinds(draw, kinds)
            values.append(np.asarray(statistic(weights), np.float64))
    estimates = np.asarray(statistic(np.ones(len(pairs.first))), np.float64)
    arrays = [np.array(values) for values in drawn]
    variances = [_variances(array) for array in arrays]
    surplus = 2 * variances[2] if num_dyads else 0.0
    n = pairs.num_identities
    factor = n / max(n - 4, n / 2)
    wanted = factor * np.maximum(variances[0] - surplus, variances[1])
    return IdentityBootstrap(estimates, _scaled(arrays[0], estimates, wanted), arrays[1], n)


def middle(values: np.ndarray) -> Interval:
    """Return the middle 95 % of draws (R,) without those that are nan; nan if all are.

    Example:
        >>> middle(np.arange(1001.0))
        Interval(low=25.0, high=975.0)
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(float(low), float(high))


def _variances(draws: np.ndarray) -> np.ndarray:
    """Return the variance (M,) of each number over the draws (R, M) in which it is no nan."""
    has_number = ~np.isnan(draws)
    counts = np.maximum(has_number.sum(axis=0), 1)
    means = np.sum(draws, axis=0, where=has_number) / counts
    variances = np.sum(np.square(draws - means), axis=0, where=has_number) / counts
    return np.where(has_number.any(axis=0), variances, np.nan)


def _scaled(draws: np.ndarray, estimates: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return the draws (R, M), moved toward or away from the estimates to have the variances."""
    received = _variances(draws)
    ratio = np.divide(variances, received, out=np.ones_like(received), where=received > 0)
    return estimates + (draws - estimates) * np.sqrt(ratio)


def _draw_of(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` of `count`; return how often each was drawn."""
    return np.bincount(rng.integers(count, size=count), minlength=count)


def _with_both_kinds(draw: Callable[[], np.ndarray], kinds: Sequence[np.ndarray]) -> np.ndarray:
    """Draw until there are pairs of each of the kinds, (P,) bool."""
    for _ in range(MAX_REDRAWS):
        weights = draw().astype(np.float64)
        if all(weights[kind].any() for kind in kinds):
            return weights
    raise ValueError(
        "A draw of identities must keep matched and mismatched pairs. Received: pairs of so few "
        f"identities that none of {MAX_REDRAWS} draws did; give `bootstrap` as 0"
    )
