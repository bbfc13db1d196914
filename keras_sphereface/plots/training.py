"""Curves of a training run over its steps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from keras_sphereface.plots.style import COLORS


def plot_training_curve(
    axes: Axes, steps: ArrayLike, values: ArrayLike, title: str, unit: str, log: bool = False
) -> Axes:
    """Draw a quantity of the training log over the steps.

    Args:
        axes: Where to draw.
        steps: (N,) training steps.
        values: (N,); values that are not finite, or not positive on a log scale, are left out.
        title: Name of the quantity.
        unit: Label of the vertical axis.
        log: Bool. Use a log scale, if there is anything to draw on it.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> plot_training_curve(axes, [0, 100], [7.1, 3.2], "Loss", "nats").get_ylabel()
        'nats'
    """
    steps, values = np.asarray(steps), np.asarray(values, dtype=float)
    shown = np.isfinite(values) & ((values > 0) | (not log))
    padded = np.pad(shown, 1)
    is_alone = shown & ~padded[:-2] & ~padded[2:]  # a line through one point shows nothing
    shown_values = np.where(shown, values, np.nan)
    axes.plot(steps, shown_values, color=COLORS[0], marker="o", markevery=is_alone)
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
    axes: Axes, steps: ArrayLike, accuracy: ArrayLike, verification: pd.DataFrame | None = None
) -> Axes:
    """Draw the training accuracy, and verification accuracies with their spread over folds.

    Args:
        axes: Where to draw.
        steps: (N,) training steps.
        accuracy: (N,), 0 to 1.
        verification: Table with the columns "step", "accuracy_mean" and "accuracy_std".

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = plot_accuracies(Figure().subplots(), [100, 200], [0.25, 0.5])
        >>> axes.lines[0].get_ydata()
        array([25., 50.])
    """
    percent = 100 * np.asarray(accuracy)
    plot_training_curve(axes, steps, percent, "Accuracy without margin", "per cent")
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


def plot_lambda(axes: Axes, steps: ArrayLike, lambdas: ArrayLike) -> Axes:
    """Draw lambda (N,) of the annealing on a log scale; steps with an infinite one are shaded.

    Example:
        >>> from matplotlib.figure import Figure
        >>> plot_lambda(Figure().subplots(), [0, 100], [1000.0, 80.0]).get_title()
        'Annealing'
    """
    steps, lambdas = np.asarray(steps), np.asarray(lambdas, dtype=float)
    is_annealed = bool(np.any(lambdas > 0))
    plot_training_curve(axes, steps, lambdas, "Annealing", "lambda", log=is_annealed)
    if not is_annealed:
        axes.set(title="Annealing: none", ylim=(-0.05, 1))
    if np.isinf(lambdas).any():
        last = steps[np.isinf(lambdas)].max()
        axes.axvspan(0, last, color="0.9", label="infinite: no margin")
        axes.legend(loc="best")
    return axes
