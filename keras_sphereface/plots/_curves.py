"""Parts of figures with several curves."""

from collections.abc import Collection, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from keras_sphereface.plots.style import color_of

# Of curves that lie on one another the lower ones show in the gaps of the upper ones.
LINE_STYLES = ("-", "--", "-.", ":")


def plot_over_log_rate(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draw {label: (x, y)}, x rising, as steps over a log scale that ends at 1."""
    check_curves(curves)
    smallest, lowest = 0.5, 1.0  # so that a single mismatched pair has an axis too
    for i, (label, points) in enumerate(curves.items()):
        x, y = (np.asarray(values, dtype=float) for values in points)
        # Of equal rates the last point, the highest one, counts.
        is_shown = (x > 0) & np.append(x[1:] != x[:-1], True)
        x, y = corners(x[is_shown], y[is_shown])
        smallest, lowest = min(smallest, x.min(initial=1.0)), min(lowest, y.min(initial=1.0))
        axes.plot(x, y, drawstyle="steps-post", label=label, **line_style(i, len(x)))
    if not has_points(axes):
        write_note(axes, "No rate above 0:\nthere is no curve to draw.")
    bottom = min(np.floor(10 * lowest) / 10, 0.8)
    margin = 0.02 * (1 - bottom)
    axes.set(xscale="log", xlim=(smallest, 1), ylim=(bottom - margin, 1 + margin))
    # An axis of less than two decades needs numbers between them.
    set_log_ticks(axes.xaxis, (1,) if smallest < 0.02 else (1, 2, 3, 5), "{x:g}")
    axes.grid(alpha=0.3)
    add_legend(axes, curves)


def set_log_ticks(axis: Axis, multiples: tuple[int, ...], number_format: str) -> None:
    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter(number_format)
    axis.set_minor_formatter(NullFormatter())


def end_at_100(axes: Axes, lowest: float) -> None:
    """Show per cent from the tens below the lowest rate to 100, with some room at both ends."""
    bottom = min(10 * np.floor(10 * lowest), 90)
    axes.set_ylim(bottom - 0.02 * (100 - bottom), 100 + 0.02 * (100 - bottom))


def check_curves(curves: Mapping[str, Any]) -> None:
    if not curves:
        raise ValueError(f"`curves` must hold at least one curve. Received: curves={curves}")


def corners(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (N,) of a staircase without those inside a step, which change no image."""
    is_inside = np.zeros(len(x), bool)
    for values in (x, y):
        stays = values[1:] == values[:-1]
        is_inside[1:-1] |= stays[:-1] & stays[1:]
    return x[~is_inside], y[~is_inside]


def normal_quantiles(rates: np.ndarray) -> np.ndarray:
    """Return the quantiles of the standard normal distribution, of rates (N,) between 0 and 1."""
    return np.array([NormalDist().inv_cdf(rate) for rate in rates])


def line_style(i: int, num_points: int) -> dict[str, Any]:
    """Return the style of the i-th curve; a line through one point would show nothing."""
    return {
        "color": color_of(i),
        "linestyle": LINE_STYLES[i % len(LINE_STYLES)],
        "marker": "o" if num_points == 1 else None,
        "clip_on": num_points != 1,
    }


def legend_labels(texts: Mapping[str, str]) -> dict[str, str]:
    """Return what the legend says of each curve; a single one has its text in the title."""
    if len(texts) == 1:
        return {label: label for label in texts}
    return {label: f"{label}: {text}" for label, text in texts.items()}


def title(name: str, texts: Mapping[str, str]) -> str:
    """Return the title of the axes, with the text of a single curve."""
    return f"{name}, {next(iter(texts.values()))}" if len(texts) == 1 else name


def band_style(i: int) -> dict[str, Any]:
    """Return the style of the band of intervals around the i-th curve."""
    return {"color": color_of(i), "alpha": 0.18, "linewidth": 0, "zorder": 1.5}


def has_points(axes: Axes) -> bool:
    return any(len(np.asarray(line.get_xdata())) for line in axes.lines)


def write_note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def add_legend(axes: Axes, labels: Collection[str]) -> None:
    """Add a legend below the axes and their label, if there are two entries or more."""
    if len(labels) < 2:
        return
    labels = axes.get_legend_handles_labels()[1]
    columns = 80 // (max(len(label) for label in labels) + 8)  # letters that fit into a line
    below = ScaledTranslation(0, -0.48, axes.figure.dpi_scale_trans)  # inches
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=axes.transAxes + below,
        ncols=max(1, min(columns, len(labels))),
        frameon=False,
    )
