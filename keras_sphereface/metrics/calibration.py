"""Calibration: from a score to the log-likelihood ratio of one identity to two.

A likelihood ratio is how many times more probable a score is for matched than for mismatched pairs.
Unlike a score it has a meaning of its own: at a prior p that two faces are one person, the odds are
LR p / (1 - p), and the best threshold is known for any costs of errors. Log-likelihood ratios here
are natural logarithms.

References: Brummer and du Preez, "Application-independent evaluation of speaker detection",
Computer Speech and Language 2006; Platt, "Probabilistic outputs for support vector machines",
1999; Ayer et al., "An empirical distribution function for sampling with incomplete information",
1955, for the pool-adjacent-violators algorithm; Ramos and Gonzalez-Rodriguez, "Reliable support:
measuring calibration of likelihood ratios", 2013.
"""

import dataclasses
import math

import numpy as np

MAX_STEPS = 100  # of Newton; usually 5 to 10 are enough
TOLERANCE = 1e-12  # of the gain of a step, as a share of the loss


@dataclasses.dataclass(frozen=True)
class LinearCalibration:
    """Log-likelihood ratio = slope * score + offset.

    Attributes:
        slope: Float. Nats for each unit of the score.
        offset: Float. Nats.

    Example:
        >>> LinearCalibration(slope=20.0, offset=-8.0).llrs(np.array([0.4, 0.6]))
        array([0., 4.])
    """

    slope: float
    offset: float

    def llrs(self, scores: np.ndarray) -> np.ndarray:
        """Return the log-likelihood ratios of scores, in nats, of the same shape."""
        return self.slope * np.asarray(scores, np.float64) + self.offset

    def score_of(self, llr: float) -> float:
        """Return the score that has a log-likelihood ratio; nan if the slope is 0."""
        return (llr - self.offset) / self.slope if self.slope else math.nan


@dataclasses.dataclass(frozen=True)
class IsotonicCalibration:
    """Log-likelihood ratios that rise with the score in any way.

    Attributes:
        scores: (K,) rising.
        ratios: (K,) rising, nats; between two scores they lie on a line.

    Example:
        >>> IsotonicCalibration(np.array([0.2, 0.6]), np.array([-2.0, 2.0])).llrs(np.array([0.4]))
        array([0.])
    """

    scores: np.ndarray
    ratios: np.ndarray

    def llrs(self, scores: np.ndarray) -> np.ndarray:
        """Return the log-likelihood ratios of scores, in nats, of the same shape."""
        return np.interp(scores, self.scores, self.ratios)


def fit_isotonic_calibration(scores: np.ndarray, is_same: np.ndarray) -> IsotonicCalibration:
    """Fit log-likelihood ratios that rise with the score, and stay finite.

    They are `isotonic_llrs` with two pairs more, a matched one below all scores and a mismatched
    one above: beyond what was seen no score proves anything.

    Args:
        scores: (P,) higher is more similar.
        is_same: (P,) bool, True for matched pairs; both kinds among them.

    Raises:
        ValueError: as `isotonic_llrs`.

    Example:
        >>> is_same = np.array([False, False, True, True])
        >>> fit_isotonic_calibration(np.array([0.1, 0.2, 0.7, 0.8]), is_same).llrs(np.array([0.9]))
        array([0.69314718])
    """
    scores, is_same = _checked(scores, is_same)
    beyond = np.append(scores, [scores.min() - 1, scores.max() + 1])
    llrs = isotonic_llrs(beyond, np.append(is_same, [True, False]))[: len(scores)]
    knots, places = np.unique(scores, return_index=True)
    return IsotonicCalibration(knots, llrs[places])


def fit_linear_calibration(
    scores: np.ndarray, is_same: np.ndarray, prior: float = 0.5
) -> LinearCalibration:
    """Fit a log-likelihood ratio that is linear in the score, by logistic regression.

    Minimizes the mean over matched pairs of -log P(same) times `prior`, plus the mean over
    mismatched pairs of -log P(different) times 1 - `prior`, where P follows from the ratio and the
    prior: however many pairs of either kind there are, each kind has the weight of its prior. With
    0.5 this is `cllr`. Newton's method in float64.

    Where the scores of both kinds do not overlap, no slope would be steep enough; the targets are
    then those of Platt, as if one pair more of each kind were wrong.

    Args:
        scores: (P,) higher is more similar.
        is_same: (P,) bool, True for matched pairs; both kinds among them.
        prior: Float in (0, 1). Probability of a matched pair for which the fit is best.

    Raises:
        ValueError: if a kind is missing, a score is not finite, all scores are equal, or `prior`
            is out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> is_same = np.arange(4000) < 2000
        >>> scores = rng.normal(size=4000) + 2 * is_same  # log-likelihood ratio 2 s - 2
        >>> calibration = fit_linear_calibration(scores, is_same)
        >>> round(calibration.slope, 1), round(calibration.offset, 1)
        (1.9, -1.9)
    """
    scores, is_same = _checked(scores, is_same)
    if not 0 < prior < 1:
        raise ValueError(f"`prior` must be in (0, 1). Received: prior={prior}")
    center, spread = scores.mean(), scores.std()
    if spread == 0:
        raise ValueError(
            f"A calibration needs scores that differ. Received: {len(scores)} times {scores[0]}"
        )
    counts = {True: int(is_same.sum()), False: int(np.sum(~is_same))}
    weights = np.where(is_same, prior / counts[True], (1 - prior) / counts[False])
    targets = is_same.astype(np.float64)
    if scores[is_same].min() > scores[~is_same].max():
        targets = np.where(is_same, 1 - 1 / (counts[True] + 2), 1 / (counts[False] + 2))
    inputs = np.stack([(scores - center) / spread, np.ones(len(scores))], axis=1)
    slope, offset = _newton(inputs, targets, weights, math.log(prior / (1 - prior)))
    return LinearCalibration(float(slope / spread), float(offset - slope * center / spread))


def _newton(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, prior_log_odds: float
) -> np.ndarray:
    """Return the coefficients (2,) of the best logistic regression on inputs (P, 2)."""

    def loss_of(coefficients: np.ndarray) -> float:
        log_odds = inputs @ coefficients + prior_log_odds
        return float(weights @ (np.logaddexp(0, log_odds) - targets * log_odds))

    coefficients = np.zeros(2)
    loss = loss_of(coefficients)
    for _ in range(MAX_STEPS):
        posterior = _logistic(inputs @ coefficients + prior_log_odds)
        gradient = inputs.T @ (weights * (posterior - targets))
        curvature = weights * posterior * (1 - posterior)
        step = np.linalg.lstsq((inputs.T * curvature) @ inputs, gradient, rcond=None)[0]
        # Far from the minimum a whole step may overshoot.
        while (next_loss := loss_of(coefficients - step)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        if next_loss > loss:
            break
        gain, coefficients, loss = loss - next_loss, coefficients - step, next_loss
        # Each step squares the error: after one that gained this little nothing is left to gain.
        if gain <= TOLERANCE * loss:
            break
    return coefficients


def isotonic_llrs(scores: np.ndarray, is_same: np.ndarray) -> np.ndarray:
    """Return the log-likelihood ratios (P,) that rise with the score and fit the pairs best.

    The pool-adjacent-violators algorithm (PAV). They are minus infinity below all matched pairs and
    infinity above all mismatched ones. On the pairs that they are fitted to no calibration that
    rises with the score costs less: their `cllr` is the minimum Cllr.

    Args:
        scores: (P,) higher is more similar; equal scores get one ratio.
        is_same: (P,) bool, True for matched pairs; both kinds among them.

    Raises:
        ValueError: if a kind is missing or a score is not finite.

    Example:
        >>> scores, is_same = np.array([0.9, 0.6, 0.5, 0.2]), np.array([True, False, True, False])
        >>> isotonic_llrs(scores, is_same)
        array([ inf,   0.,   0., -inf])
    """
    scores, is_same = _checked(scores, is_same)
    _, places = np.unique(scores, return_inverse=True)
    matched = np.bincount(places, weights=is_same)
    mismatched = np.bincount(places, weights=~is_same)
    pools: list[list[float]] = []  # [matched, mismatched, number of scores], by rising share
    for pair_counts in zip(matched.tolist(), mismatched.tolist(), strict=True):
        pools.append([*pair_counts, 1])
        # The share of matched pairs must not fall: a / (a + b) <= c / (c + d) as products.
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    sizes = np.array([int(size) for _, _, size in pools])
    kinds = np.array([pool[:2] for pool in pools])
    with np.errstate(divide="ignore"):
        logs = np.log(kinds / kinds.sum(axis=0))
    return np.repeat(logs[:, 0] - logs[:, 1], sizes)[places]


def cllr(llrs: np.ndarray, is_same: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the cost of log-likelihood ratios, Cllr, in bits.

    0 is perfect, 1 is what always answering 0 costs, and above 1 no answer would be better. It is
    the mean over matched pairs of log2(1 + 1 / LR), and over mismatched pairs of log2(1 + LR), each
    counted half.

    Args:
        llrs: (P,) in nats; infinite ones are allowed.
        is_same: (P,) bool, True for matched pairs; both kinds among them.
        weights: (P,) how often each pair counts; by default once.

    Reference: Brummer and du Preez, 2006, equation 54.

    Example:
        >>> is_same = np.array([True, True, False, False])
        >>> cllr(np.zeros(4), is_same), cllr(np.array([np.inf, np.inf, -np.inf, -np.inf]), is_same)
        (1.0, 0.0)
    """
    costs = np.logaddexp(0, np.where(is_same, -np.asarray(llrs), llrs)) / math.log(2)
    weights = np.ones(len(costs)) if weights is None else weights
    kinds = (np.asarray(is_same), ~np.asarray(is_same))
    return float(sum(np.average(costs[kind], weights=weights[kind]) for kind in kinds) / 2)


def min_cllr(scores: np.ndarray, is_same: np.ndarray) -> float:
    """Return the Cllr of the best calibration of these pairs, in bits: what the scores are worth.

    The difference to the `cllr` of a calibration is what that calibration loses.

    Example:
        >>> scores, is_same = np.array([0.9, 0.6, 0.5, 0.2]), np.array([True, False, True, False])
        >>> min_cllr(scores, is_same)
        0.5
    """
    return cllr(isotonic_llrs(scores, is_same), is_same)


def _checked(scores: np.ndarray, is_same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, is_same = np.asarray(scores, np.float64), np.asarray(is_same, bool)
    if scores.shape != is_same.shape or scores.ndim != 1:
        raise ValueError(
            "`scores` and `is_same` must be of one shape (P,). "
            f"Received: {scores.shape} and {is_same.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("Scores must be finite. Received: nan or infinity")
    if is_same.all() or not is_same.any():
        raise ValueError(
            "A calibration needs matched and mismatched pairs. "
            f"Received: {np.sum(is_same)} matched and {np.sum(~is_same)} mismatched"
        )
    return scores, is_same


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-log_odds)) without overflow."""
    return np.exp(-np.logaddexp(0, -log_odds))
