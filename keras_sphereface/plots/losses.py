"""Losses side by side, each with the values of its training runs."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from keras_sphereface.plots.style import COLORS


def plot_runs(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[np.ndarray],
    label: str,
    baseline: str = "",
    center: Callable[[np.ndarray], float] = np.mean,
) -> Axes:
    """Draw a line for each name, the first on top: a dot for each run and a bar at their center.

    Args:
        axes: Where to draw.
        names: N names of losses.
        values: N arrays (R,), the values of the runs; nan and infinity are left out.
        label: Label of the values.
        baseline: Name with a dashed line through its center.
        center: Function from the values of the runs to their center.

    Example:
        >>> from matplotlib.figure import Figure
        >>> names, values = ["softmax", "arcface"], [np.array([0.9, 0.92]), np.array([0.95])]
        >>> axes = plot_runs(Figure().subplots(), names, values, "accuracy", baseline="softmax")
        >>> [text.get_text() for text in axes.get_yticklabels()]
        ['softmax', 'arcface']
    """
    for place, (name, of_runs) in enumerate(zip(names, values, strict=True)):
        finite = np.asarray(of_runs, float)
        finite = finite[np.isfinite(finite)]
        if not len(finite):
            continue
        middle = center(finite)
        axes.plot(finite, [place] * len(finite), "o", color=COLORS[0], markersize=5, alpha=0.7)
        axes.plot([middle] * 2, [place - 0.3, place + 0.3], color=COLORS[5], linewidth=2.5)
        if name == baseline:
            axes.axvline(middle, color="0.5", linestyle="--", linewidth=1, zorder=0)
    axes.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.grid(axis="x", alpha=0.3)
    return axes
