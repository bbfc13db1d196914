"""Figures of groups."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.plots.style import COLORS


def plot_group_rates(
    axes: Axes,
    rates: Mapping[str, tuple[float | None, Interval | None]],
    overall: float,
    title: str = "",
) -> Axes:
    """Draw a rate of each group with its interval, and a dashed line at the rate of all.

    Args:
        axes: Where to draw.
        rates: {group: (rate in [0, 1] or None, its interval or None)}; the first is on top.
        overall: Float in [0, 1]. Rate of all groups together.
        title: Name of the rate.

    Raises:
        ValueError: if there is no group.

    Example:
        >>> from matplotlib.figure import Figure
        >>> rates = {"female": (0.02, Interval(0.01, 0.03)), "male": (0.01, None)}
        >>> plot_group_rates(Figure().subplots(), rates, 0.012, "FMR").get_xlabel()
        'per cent'
    """
    if not rates:
        raise ValueError(f"`rates` must hold at least one group. Received: rates={rates}")
    for row, (rate, interval) in enumerate(rates.values()):
        if interval is not None and np.isfinite([interval.low, interval.high]).all():
            ends = [100 * interval.low, 100 * interval.high]
            axes.plot(ends, [row, row], color=COLORS[0], linewidth=2, solid_capstyle="butt")
        if rate is not None:
            axes.plot([100 * rate], [row], "o", color=COLORS[0])
        else:
            axes.annotate("no comparison", (0.02, row), xycoords=("axes fraction", "data"))
    axes.axvline(100 * overall, color="0.4", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rates)), labels=list(rates))
    axes.set(xlabel="per cent", title=title, ylim=(len(rates) - 0.5, -0.5))
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    return axes
