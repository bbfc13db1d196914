"""Losses side by side, each with the values of its runs."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from keras_sphereface.plots.style import COLORS


def plot_runs(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[np.ndarray],
    label: str,
    reference: str = "",
    middle: Callable[[np.ndarray], float] = np.mean,
) -> Axes:
    """A line for each name, the first on top: a dot for each run, and a bar at their middle.

    Args:
        axes: where to draw.
        names: N of them.
        values: of each the values of its runs, (R,); what is missing is left out.
        label: of the values.
        reference: a name through whose middle a dashed line goes.
        middle: of the values of the runs.
    """
    for place, (name, of_runs) in enumerate(zip(names, values, strict=True)):
        finite = np.asarray(of_runs, float)
        finite = finite[np.isfinite(finite)]
        if not len(finite):
            continue
        center = middle(finite)
        axes.plot(finite, [place] * len(finite), "o", color=COLORS[0], markersize=5, alpha=0.7)
        axes.plot([center] * 2, [place - 0.3, place + 0.3], color=COLORS[5], linewidth=2.5)
        if name == reference:
            axes.axvline(center, color="0.5", linestyle="--", linewidth=1, zorder=0)
    axes.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.grid(axis="x", alpha=0.3)
    return axes
