"""Curves of benchmarks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from keras_sphereface.plots.style import MARKERS, color_of, tone


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


def plot_step_parts(axes: Axes, names: Sequence[str], parts: Mapping[str, Sequence[float]]) -> Axes:
    """Draw a bar for each step, stacked from its parts, as shares of the whole.

    Args:
        axes: Where to draw.
        names: Names of the steps, from left to right.
        parts: {part: its seconds in each step}, from below.

    Example:
        >>> from matplotlib.figure import Figure
        >>> parts = {"network": [3.0, 1.0], "head": [1.0, 1.0]}
        >>> plot_step_parts(Figure().subplots(), ["1", "8"], parts).get_ylabel()
        'share of the step, %'
    """
    totals = np.sum(list(parts.values()), axis=0)
    below = np.zeros(len(names))
    for i, (part, seconds) in enumerate(parts.items()):
        shares = 100 * np.asarray(seconds) / totals
        axes.bar(range(len(names)), shares, bottom=below, color=color_of(i), label=part, width=0.7)
        below += shares
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="share of the step, %", ylim=(0, 100))
    return axes


def plot_head_memory(
    axes: Axes, num_classes: Sequence[int], memory: Mapping[str, Sequence[float]], limit: float
) -> Axes:
    """Draw the memory of heads over the number of classes, both on log scales.

    Args:
        axes: Where to draw.
        num_classes: N numbers of classes.
        memory: {head: N numbers of bytes on a device}.
        limit: Bytes of a device, drawn as a dashed line.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> plot_head_memory(axes, [10, 100], {"one block": [1e9, 1e10]}, 8e10).get_ylabel()
        'GB on a device'
    """
    for i, (head, num_bytes) in enumerate(memory.items()):
        marker = MARKERS[i % len(MARKERS)]
        values = np.asarray(num_bytes) / 1e9
        axes.plot(num_classes, values, marker=marker, color=color_of(i), label=head)
    axes.axhline(limit / 1e9, color=tone(0.4), linestyle="--", linewidth=1)
    axes.annotate(
        f"a device of {limit / 1e9:.0f} GB",
        (min(num_classes), limit / 1e9),
        xytext=(0, 3),
        textcoords="offset points",
        color=tone(0.3),
        fontsize="small",
    )
    axes.set(xscale="log", yscale="log", xlabel="classes", ylabel="GB on a device")
    axes.grid(alpha=0.3)
    return axes
