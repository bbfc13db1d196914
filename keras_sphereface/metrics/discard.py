"""Error-versus-discard: how many errors remain where what looks worst is discarded first.

A measure of quality is good if errors are among the comparisons of low quality. The quality of a
comparison is the lower one of its two images. The threshold stays; the false non-match rate of
what is kept is drawn over the share that was discarded.

References: Grother and Tabassi, "Performance of biometric quality measures", TPAMI 2007; Schlett et
al., "Considerations on the evaluation of biometric quality assessment algorithms", 2023; ISO/IEC
29794-1.
"""

import numpy as np

DISCARDS = np.linspace(0.0, 0.4, 41)  # shares of the comparisons
MAX_DISCARD = 0.2  # of the partial area: nobody refuses more


def remaining_errors(
    quality: np.ndarray, is_error: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the share of errors that remain at each of `DISCARDS`, (41,), of all comparisons.

    Comparisons of equal quality are discarded in no order: errors fall in a straight line.

    Args:
        quality: (M,) of comparisons; higher is better.
        is_error: (M,) bool.
        weights: (M,) how often each counts; None: once.

    Example:
        >>> quality, is_error = np.arange(10.0), np.arange(10) < 2
        >>> remaining_errors(quality, is_error)[[0, 10, 20]].round(6).tolist()
        [0.2, 0.1, 0.0]
    """
    order = np.argsort(quality, kind="stable")
    rising = quality[order]
    counts = np.ones(len(order)) if weights is None else np.asarray(weights, np.float64)[order]
    last_of_tie = np.append(rising[1:] != rising[:-1], True)
    total = counts.sum()
    discarded = np.append(0.0, np.cumsum(counts)[last_of_tie]) / total
    gone = np.append(0.0, np.cumsum(counts * is_error[order])[last_of_tie]) / total
    return gone[-1] - np.interp(DISCARDS, discarded, gone)


def discard_curve(
    quality: np.ndarray, is_error: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the error rate of what is kept at each of `DISCARDS`, (41,).

    Args:
        quality: (M,) of comparisons; higher is better.
        is_error: (M,) bool.
        weights: (M,) how often each counts; None: once.

    Example:
        >>> discard_curve(np.arange(10.0), np.arange(10) < 2)[[0, 10]].round(3).tolist()
        [0.2, 0.111]
    """
    return remaining_errors(quality, is_error, weights) / (1 - DISCARDS)


def best_curve(rate: float) -> np.ndarray:
    """Return the curve (41,) of a measure that knows all errors, whose rate is `rate`.

    Example:
        >>> best_curve(0.2)[[0, 20]].tolist()
        [0.2, 0.0]
    """
    return np.maximum(rate - DISCARDS, 0.0) / (1 - DISCARDS)


def relative_area(curve: np.ndarray) -> float:
    """Return the partial area under a curve (41,) up to a discard of 20 %.

    0 is the best possible curve, 1 is discarding at random, and more is worse than that; nan
    without errors, and where all are errors: every curve is then the same.

    Example:
        >>> relative_area(best_curve(0.3)), round(relative_area(np.full(41, 0.3)), 6)
        (0.0, 1.0)
    """
    inside = DISCARDS <= MAX_DISCARD * (1 + 1e-9)
    best, rate = best_curve(float(curve[0])), float(curve[0])
    if not 0 < rate < 1 - 1e-9:
        return float("nan")
    steps = np.diff(DISCARDS[inside])
    areas = [np.sum((one[inside][1:] + one[inside][:-1]) / 2 * steps) for one in (curve, best)]
    return float((areas[0] - areas[1]) / (rate * MAX_DISCARD - areas[1]))
