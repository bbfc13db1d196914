"""Figures of identification.

Several curves share one image: they come as {label: curve}, and have a legend if there are
two or more. Legends stand below the axes, where they hide nothing; a figure with
`layout="constrained"` makes room for them.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from keras_sphereface.plots import _curves
from keras_sphereface.utils.text import counted

MAX_LINEAR_RANKS = 50  # more ranks have a log scale


def plot_cmc(axes: Axes, curves: Mapping[str, np.ndarray], gallery_size: int | None = None) -> Axes:
    """Draw the cumulative match characteristic: the identification rate over the rank.

    The title, or with several curves the legend, gives the area under each curve (AUC): the mean
    of its rates over the ranks that are drawn.

    Args:
        axes: Where to draw.
        curves: {label: (R,) identification rates in 0 to 1 at the ranks 1 to R}, at least one.
        gallery_size: Number of identities of the gallery, for the title; None: not named.

    Raises:
        ValueError: if there is no curve.

    Example:
        >>> from matplotlib.figure import Figure
        >>> plot_cmc(Figure().subplots(), {"m = 4": np.array([0.8, 0.9, 0.95])}, 3).get_title()
        'CMC, 3 identities, AUC 0.8833'
    """
    _curves.check_curves(curves)
    areas = {label: f"AUC {np.mean(rates):.4f}" for label, rates in curves.items()}
    labels = _curves.legend_labels(areas)
    for i, (label, rates) in enumerate(curves.items()):
        ranks, style = np.arange(1, len(rates) + 1), _curves.line_style(i, len(rates))
        axes.plot(ranks, 100 * np.asarray(rates), label=labels[label], **style)
    max_rank = max(len(rates) for rates in curves.values())
    _curves.end_at_100(axes, min(np.min(rates) for rates in curves.values()))
    if max_rank > MAX_LINEAR_RANKS:
        axes.set(xscale="log", xlim=(1, max_rank))
        _curves.set_log_ticks(axes.xaxis, (1, 2, 5), "{x:g}")
    else:
        axes.set_xlim(0.5, max_rank + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    name = "CMC" if gallery_size is None else f"CMC, {counted(gallery_size, 'identity')}"
    axes.set(xlabel="rank", ylabel="identified, per cent", title=_curves.title(name, areas))
    axes.grid(alpha=0.3)
    _curves.add_legend(axes, curves)
    return axes


def plot_dir(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Axes:
    """Draw detection and identification rate (1 - FNIR) over false alarm rate (FPIR), log scaled.

    Args:
        axes: Where to draw.
        curves: {label: (far, dir)}, both (K,) in 0 to 1; far rises. At least one curve.

    Raises:
        ValueError: if there is no curve.

    Example:
        >>> from matplotlib.figure import Figure
        >>> far, rates = np.array([0.0, 0.1, 1.0]), np.array([0.5, 0.8, 0.9])
        >>> plot_dir(Figure().subplots(), {"m = 4": (far, rates)}).get_xlabel()
        'false positive identification rate (FPIR)'
    """
    _curves.plot_over_log_rate(axes, curves)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_xlabel("false positive identification rate (FPIR)")
    axes.set_ylabel("detected and identified (1 - FNIR), per cent")
    axes.set_title("Open-set identification")
    return axes


def plot_distractors(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Axes:
    """Draw the rank-1 identification rate over the number of distractors, on a log scale.

    Args:
        axes: Where to draw.
        curves: {label: (numbers of distractors (K,), rates in 0 to 1 (K,))}, at least one.

    Raises:
        ValueError: if there is no curve.

    Example:
        >>> from matplotlib.figure import Figure
        >>> numbers, rates = np.array([10, 100, 1000]), np.array([0.99, 0.97, 0.9])
        >>> plot_distractors(Figure().subplots(), {"m = 4": (numbers, rates)}).get_xlabel()
        'distractors'
    """
    _curves.check_curves(curves)
    for i, (label, (numbers, rates)) in enumerate(curves.items()):
        line = _curves.line_style(i, len(numbers)) | {"marker": "o"}
        axes.plot(numbers, 100 * np.asarray(rates), label=label, **line)
    _curves.end_at_100(axes, min(np.min(rates) for _, rates in curves.values()))
    axes.set(xscale="log", xlabel="distractors", ylabel="rank 1, per cent")
    low, high = axes.get_xlim()
    # An axis of less than two decades needs numbers between them.
    _curves.set_log_ticks(axes.xaxis, (1,) if high > 100 * low else (1, 2, 5), "{x:,.0f}")
    axes.set_title("Identification among distractors")
    axes.grid(alpha=0.3)
    _curves.add_legend(axes, curves)
    return axes
