"""False match rates below what pairs can show: the generalized Pareto distribution of the tail.

The scores above a high threshold u follow, the higher u the better, a generalized Pareto
distribution. Fitted to the highest scores of mismatched pairs, it continues the false match rate
beyond the highest score. This is an extrapolation, and to be called so: nothing in the pairs shows
whether a cause that is rarer than they are, a twin or a wrong label, changes the tail.

References: Pickands, "Statistical inference using extreme order statistics", Annals of Statistics
1975; Hosking and Wallis, "Parameter and quantile estimation for the generalized Pareto
distribution", Technometrics 1987, for probability-weighted moments; ISO/IEC 5152, biometric
performance estimation by statistical models.
"""

import dataclasses

import numpy as np

PLOTTING_POSITION = 0.35  # of Hosking and Wallis
MIN_EXCEEDANCES = 20


@dataclasses.dataclass(frozen=True)
class ParetoTail:
    """FMR(t) = share (1 + shape (t - start) / scale) ^ (-1 / shape) for t >= start.

    Attributes:
        start: Float. u, the score from which on the tail is modeled.
        share: Float in (0, 1). False match rate at `start`.
        shape: Float. xi; below 0 scores end at start - scale / shape.
        scale: Float > 0, in the unit of the scores.

    Example:
        >>> tail = ParetoTail(start=0.3, share=0.01, shape=0.0, scale=0.05)
        >>> round(tail.threshold(1e-4), 4), round(tail.fmr(0.3), 4)
        (0.5303, 0.01)
    """

    start: float
    share: float
    shape: float
    scale: float

    def fmr(self, threshold: float) -> float:
        """Return the false match rate at a threshold >= `start`; nan below it."""
        if threshold < self.start:
            return float("nan")
        distance = (threshold - self.start) / self.scale
        if abs(self.shape) < 1e-9:
            return float(self.share * np.exp(-distance))
        inside = max(0.0, 1 + self.shape * distance)
        return float(self.share * inside ** (-1 / self.shape)) if inside > 0 else 0.0

    def threshold(self, fmr: float) -> float:
        """Return the threshold of a false match rate, 0 < fmr <= `share`; nan above it."""
        if not 0 < fmr <= self.share:
            return float("nan")
        logs = np.log(self.share / fmr)
        if abs(self.shape) < 1e-9:
            return float(self.start + self.scale * logs)
        return float(self.start + self.scale * np.expm1(self.shape * logs) / self.shape)


def fit_pareto_tail(
    falling_scores: np.ndarray, num_pairs: float, weights: np.ndarray | None = None
) -> ParetoTail:
    """Fit the tail of mismatched pairs by probability-weighted moments.

    Args:
        falling_scores: (K + 1,) the highest scores of mismatched pairs; the last is the start of
            the tail.
        num_pairs: Number of all mismatched pairs.
        weights: (K + 1,) how often each pair counts; by default once.

    Raises:
        ValueError: If fewer than 20 scores are above the last.

    Example:
        >>> scores = 0.3 - 0.05 * np.log((np.arange(1000) + 0.5) / 1000)  # exponential
        >>> tail = fit_pareto_tail(scores, num_pairs=100_000)
        >>> round(tail.shape, 2), round(tail.scale, 3), round(tail.threshold(1e-6), 2)
        (-0.0, 0.05, 0.76)
    """
    scores = np.asarray(falling_scores, np.float64)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    exceedances, counts = scores[:-1] - scores[-1], weights[:-1]
    total = counts.sum()
    if np.sum(counts > 0) < MIN_EXCEEDANCES or not exceedances[counts > 0].max() > 0:
        raise ValueError(
            f"A tail needs {MIN_EXCEEDANCES} scores or more above its start. "
            f"Received: {int(np.sum(counts > 0))}"
        )
    # The share of exceedances that are higher, from the highest one on.
    above = (np.cumsum(counts) - counts / 2 - 0.5 + PLOTTING_POSITION) / total
    mean = counts @ exceedances / total
    weighted = counts @ (exceedances * above) / total
    denominator = mean - 2 * weighted
    shape = 2 - mean / denominator
    scale = 2 * mean * weighted / denominator
    return ParetoTail(float(scores[-1]), float(total / num_pairs), float(shape), float(scale))
