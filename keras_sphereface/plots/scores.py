"""Figures of verification.

Several curves share one image: they come as {label: curve}, and have a legend if there are
two or more. Legends stand below the axes, where they hide nothing; a figure with
`layout="constrained"` makes room for them.
"""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from keras_sphereface.metrics.roc import Roc
from keras_sphereface.plots import _curves
from keras_sphereface.plots.style import COLORS

DET_TICKS = (0.001, 0.01, 0.1, 1, 5, 20, 40, 60, 80, 95, 99, 99.9)  # per cent


def plot_roc(axes: Axes, curves: Mapping[str, Roc]) -> Axes:
    """Draw true accept rate (1 - FNMR) over false accept rate (FMR), the latter on a log scale.

    The horizontal axis begins at the smallest false accept rate above 0.

    Args:
        axes: Where to draw.
        curves: {label: ROC}, at least one.

    Raises:
        ValueError: if there is no curve.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.metrics import roc_curve
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True]))
        >>> plot_roc(Figure().subplots(), {"m = 4": curve}).get_xlabel()
        'false accept rate'
    """
    _curves.plot_over_log_rate(axes, {label: (roc.far, roc.tar) for label, roc in curves.items()})
    axes.set(xlabel="false accept rate", ylabel="true accept rate", title="ROC")
    return axes


def plot_det(axes: Axes, curves: Mapping[str, Roc]) -> Axes:
    """Draw false reject rate (FNMR) over false accept rate (FMR), on normal-deviate scales.

    Rates of 0 and 1 have no place on them: such points are left out. The dotted line is where
    both rates are equal.

    Args:
        axes: Where to draw.
        curves: {label: ROC}, at least one.

    Raises:
        ValueError: if there is no curve.

    Reference: Martin et al., "The DET curve in assessment of detection task performance",
    Eurospeech 1997.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.metrics import roc_curve
        >>> scores, is_same = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False] * 2)
        >>> plot_det(Figure().subplots(), {"m = 4": roc_curve(scores, is_same)}).get_title()
        'DET'
    """
    _curves.check_curves(curves)
    ends = [NormalDist().inv_cdf(rate) for rate in (0.05, 0.5)]
    for i, (label, curve) in enumerate(curves.items()):
        x, y = curve.far, 1.0 - curve.tar
        is_inside = (np.minimum(x, y) > 0) & (np.maximum(x, y) < 1)
        x, y = map(_curves.normal_quantiles, _curves.corners(x[is_inside], y[is_inside]))
        ends += [*x, *y]
        label += "" if is_inside.any() else " (no point to draw)"
        axes.plot(x, y, label=label, **_curves.line_style(i, len(x)))
    limits = (min(ends) - 0.1, max(ends) + 0.1)
    if _curves.has_points(axes):
        axes.plot(limits, limits, color="0.6", linestyle=":", linewidth=1, zorder=1)
    else:
        note = "No threshold with errors of both kinds:\nthere is no curve to draw."
        _curves.write_note(axes, note)
    for axis in (axes.xaxis, axes.yaxis):
        ticks = _curves.normal_quantiles(np.array(DET_TICKS) / 100)
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in DET_TICKS])
        axis.set_minor_locator(NullLocator())
    axes.set(xlim=limits, ylim=limits, title="DET")
    axes.set(xlabel="false accept rate, per cent", ylabel="false reject rate, per cent")
    axes.grid(alpha=0.3)
    _curves.add_legend(axes, curves)
    return axes


def plot_similarity_histogram(
    axes: Axes,
    scores: np.ndarray,
    is_same: np.ndarray,
    threshold: float | None = None,
    unit: str = "cosine",
) -> Axes:
    """Draw the distributions of the scores of matched and mismatched pairs.

    Args:
        axes: Where to draw.
        scores: (P,).
        is_same: (P,) bool, True for matched pairs.
        threshold: Score of the decision, a dashed line; None: no line.
        unit: Unit of the scores.

    Example:
        >>> from matplotlib.figure import Figure
        >>> scores, is_same = np.array([0.8, 0.1]), np.array([True, False])
        >>> plot_similarity_histogram(Figure().subplots(), scores, is_same, 0.4).get_ylabel()
        'pairs'
    """
    # Images of several models are easier to compare where their cosines have one scale.
    low, high = (-0.2, 1.0) if unit == "cosine" else (scores.max(), scores.min())
    bins = np.linspace(min(scores.min(), low), max(scores.max(), high), 61)
    for side, label, color in (
        (~is_same, "different identities", COLORS[1]),
        (is_same, "same identity", COLORS[0]),
    ):
        axes.hist(scores[side], bins.tolist(), alpha=0.65, label=label, color=color)
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set(xlabel=unit, ylabel="pairs", title="Similarity of pairs")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _curves.add_legend(axes, axes.get_legend_handles_labels()[1])
    return axes


def plot_angle_distributions(
    axes: Axes,
    intra_counts: np.ndarray,
    inter_counts: np.ndarray,
    largest_intra: float | None = None,
    smallest_inter: float | None = None,
) -> Axes:
    """Draw the distributions of the angles within and between classes, as densities.

    Args:
        axes: Where to draw.
        intra_counts: (N,) number of angles within classes in each of N equal bins over 0 to 180
            degrees.
        inter_counts: (N,) number of angles between classes in the same bins.
        largest_intra: Degrees, a line; None where there is no such angle.
        smallest_inter: Degrees, a line; None where there is no such angle.

    Raises:
        ValueError: if the counts differ in shape.

    Example:
        >>> from matplotlib.figure import Figure
        >>> intra, inter = np.array([5, 1, 0]), np.array([0, 9, 3])
        >>> plot_angle_distributions(Figure().subplots(), intra, inter, 80.0, 61.0).get_xlabel()
        'angle, degrees'
    """
    intra_counts, inter_counts = np.asarray(intra_counts), np.asarray(inter_counts)
    if intra_counts.shape != inter_counts.shape or intra_counts.ndim != 1:
        raise ValueError(
            "`intra_counts` and `inter_counts` must be of one shape (N,). "
            f"Received: {intra_counts.shape} and {inter_counts.shape}"
        )
    edges = np.linspace(0.0, 180.0, len(intra_counts) + 1)
    for counts, angle, label, extreme, color, style in (
        (intra_counts, largest_intra, "within a class", "largest within", COLORS[0], "--"),
        (inter_counts, smallest_inter, "between classes", "smallest between", COLORS[1], "-."),
    ):
        densities = counts / (max(counts.sum(), 1) * edges[1])
        label += "" if counts.sum() else " (none)"
        axes.stairs(densities, edges, fill=True, alpha=0.65, color=color, label=label)
        if angle is not None:
            text = f"{extreme} {angle:.1f}°"
            axes.axvline(angle, color=color, linestyle=style, label=text)
    axes.set(xlabel="angle, degrees", ylabel="share per degree", title="Angles", xlim=(0, 180))
    axes.set_xticks(range(0, 181, 30))
    axes.set_ylim(bottom=0)
    _curves.add_legend(axes, axes.get_legend_handles_labels()[1])
    return axes
