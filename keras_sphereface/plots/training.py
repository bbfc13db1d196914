"""Curves of a training run over its steps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter

from keras_sphereface.plots.style import COLORS


def plot_log(
    axes: Axes, steps: np.ndarray, values: np.ndarray, title: str, unit: str, log: bool = False
) -> Axes:
    """A quantity of the training log over the steps.

    Args:
        axes: where to draw.
        steps, values: (N,); what is not finite, or on a log scale not above 0, is left out.
        title: what it is.
        unit: the label of the axis that goes up.
        log: whether that has a log scale, if there is anything to draw.
    """
    steps, values = np.asarray(steps), np.asarray(values, dtype=float)
    shown = np.isfinite(values) & ((values > 0) | (not log))
    beside = np.pad(shown, 1)
    alone = shown & ~beside[:-2] & ~beside[2:]  # a line through one point shows nothing
    axes.plot(steps, np.where(shown, values, np.nan), color=COLORS[0], marker="o", markevery=alone)
    if log and shown.any():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(LogFormatter())
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.set_xlim(0, 1.03 * max(steps, default=1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(alpha=0.3)
    return axes


def plot_accuracies(
    axes: Axes, steps: np.ndarray, accuracy: np.ndarray, verification: pd.DataFrame | None = None
) -> Axes:
    """The training accuracy (N,) in 0 to 1, and verification accuracies with their spread.

    `verification` has the columns "step", "accuracy_mean" and "accuracy_std".
    """
    plot_log(axes, steps, 100 * np.asarray(accuracy), "Accuracy without margin", "per cent")
    if verification is not None and len(verification):
        axes.lines[0].set_label("training")
        axes.errorbar(
            verification["step"],
            100 * verification["accuracy_mean"],
            100 * verification["accuracy_std"],
            fmt="o",
            markersize=4,
            capsize=3,
            color=COLORS[5],
            label="verification",
        )
        axes.legend(loc="lower right")
    return axes


def plot_lambda(axes: Axes, steps: np.ndarray, lambdas: np.ndarray) -> Axes:
    """lambda (N,) of the annealing on a log scale; where it is infinite the axes are shaded."""
    steps, lambdas = np.asarray(steps), np.asarray(lambdas, dtype=float)
    annealed = bool(np.any(lambdas > 0))
    plot_log(axes, steps, lambdas, "Annealing", "lambda", log=annealed)
    if not annealed:
        axes.set(title="Annealing: none", ylim=(-0.05, 1))
    if np.isinf(lambdas).any():
        last = steps[np.isinf(lambdas)].max()
        axes.axvspan(0, last, color="0.9", label="infinite: no margin")
        axes.legend(loc="best")
    return axes
