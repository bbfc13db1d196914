"""Calibration plot of log-likelihood ratios."""

import numpy as np
from matplotlib.axes import Axes

from keras_sphereface.metrics.calibration import isotonic_llrs
from keras_sphereface.plots import _curves
from keras_sphereface.plots.style import COLORS

LIMIT = 6.0  # log10 of the largest ratio shown; beyond it pairs are too few to tell


def plot_calibration(axes: Axes, llrs: np.ndarray, is_same: np.ndarray) -> Axes:
    """Draw log-likelihood ratios against those that the pairs show by isotonic regression.

    Where the curve is above the line, ratios are more cautious than they need be for matched pairs;
    below it they promise too much. Both are to the base 10; where a score has matched or mismatched
    pairs alone, the curve runs to the edge.

    Args:
        axes: Where to draw.
        llrs: (P,) log-likelihood ratios in nats, finite.
        is_same: (P,) bool, True for matched pairs; both kinds among them.

    Example:
        >>> from matplotlib.figure import Figure
        >>> llrs, is_same = np.array([-2.0, -1.0, 0.5, 3.0]), np.array([False, True, False, True])
        >>> plot_calibration(Figure().subplots(), llrs, is_same).get_xlabel()
        'calibrated log10 likelihood ratio'
    """
    given = np.asarray(llrs, np.float64) / np.log(10)
    shown = isotonic_llrs(llrs, is_same) / np.log(10)
    limit = min(LIMIT, max(1.0, float(np.abs(given).max())))
    order = np.argsort(given, kind="stable")
    x, y = given[order], np.clip(shown[order], -2 * limit, 2 * limit)
    axes.plot([-limit, limit], [-limit, limit], color="0.5", linestyle="--", label="ideal")
    axes.plot(x, y, drawstyle="steps-mid", color=COLORS[0], label="by isotonic regression")
    height = 0.05 * limit
    for kind, color, bottom, label in (
        (is_same, COLORS[0], -limit, "matched pairs"),
        (~is_same, COLORS[1], limit - height, "mismatched pairs"),
    ):
        inside = given[kind & (np.abs(given) <= limit)]
        axes.vlines(inside, bottom, bottom + height, color=color, alpha=0.15, linewidth=0.6)
        axes.plot([], [], color=color, linewidth=4, alpha=0.5, label=label)
    axes.set(
        xlabel="calibrated log10 likelihood ratio",
        ylabel="log10 likelihood ratio of the pairs",
        title="Calibration",
        xlim=(-limit, limit),
        ylim=(-limit, limit),
    )
    axes.grid(alpha=0.3)
    _curves.add_legend(axes, axes.get_legend_handles_labels()[1])
    return axes
