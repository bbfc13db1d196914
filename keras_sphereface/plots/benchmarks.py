"""Curves of benchmarks."""

import pandas as pd
from matplotlib.axes import Axes

from keras_sphereface.plots.style import MARKERS, color_of


def plot_scaling(axes: Axes, table: pd.DataFrame, column: str, unit: str) -> Axes:
    """Draw a line for each case over the number of classes, both on log scales.

    Args:
        axes: Where to draw.
        table: Table with the columns "case", "num_classes" and `column`.
        column: Name of the column on the vertical axis; values below 1 are drawn at 1.
        unit: Label of the vertical axis.

    Example:
        >>> from matplotlib.figure import Figure
        >>> table = pd.DataFrame({"case": "asoftmax", "num_classes": [10, 100], "ms": [2.0, 9.0]})
        >>> plot_scaling(Figure().subplots(), table, "ms", "milliseconds").get_xscale()
        'log'
    """
    for i, (case, rows) in enumerate(table.groupby("case", sort=False)):
        color, marker = color_of(i), MARKERS[i % len(MARKERS)]
        # A log scale has no place for 0.
        values = rows[column].clip(lower=1.0)
        axes.plot(rows["num_classes"], values, marker=marker, color=color, label=str(case))
    axes.set(xscale="log", yscale="log", xlabel="classes", ylabel=unit)
    axes.grid(alpha=0.3)
    return axes
