"""What benchmarks draw."""

import pandas as pd
from matplotlib.axes import Axes

from keras_sphereface.plots.style import MARKERS, color_of


def plot_scaling(axes: Axes, table: pd.DataFrame, column: str, unit: str) -> Axes:
    """A line for each case over the number of classes, both on log scales.

    Args:
        axes: where to draw.
        table: with the columns "case", "num_classes" and `column`.
        column: what goes up.
        unit: the label of that axis.
    """
    for i, (case, rows) in enumerate(table.groupby("case", sort=False)):
        color, marker = color_of(i), MARKERS[i % len(MARKERS)]
        # What is smaller than one unit is drawn at one: 0 has no place on a log scale.
        values = rows[column].clip(lower=1.0)
        axes.plot(rows["num_classes"], values, marker=marker, color=color, label=str(case))
    axes.set(xscale="log", yscale="log", xlabel="classes", ylabel=unit)
    axes.grid(alpha=0.3)
    return axes
