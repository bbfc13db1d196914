"""Figures of verification.

Several curves share one image: they come as {label: curve}, and have a legend if there are
two or more. Legends stand below the axes, where they hide nothing; a figure with
`layout="constrained"` makes room for them.
"""

from collections.abc import Mapping
from statistics import NormalDist

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from keras_sphereface.metrics.roc import Roc, auc_score, equal_error_rate
from keras_sphereface.plots import _curves
from keras_sphereface.plots.style import COLORS

Band = tuple[np.ndarray, np.ndarray, np.ndarray]
MAX_DET_FMR = 0.5  # beyond it nobody would set a threshold
NO_CURVE = np.array([0.05, 0.5])  # the ends of axes without a curve
DET_TICKS = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 99, 99.9)  # per cent


def plot_roc(axes: Axes, curves: Mapping[str, Roc], bands: Mapping[str, Band] = {}) -> Axes:
    """Draw the true accept rate over the false match rate, the latter on a log scale.

    The true accept rate (TAR) is 1 - FNMR, the false match rate (FMR) is the false accept rate.
    The horizontal axis begins at the smallest one above 0. The title, or with several curves the
    legend, gives the area under each curve.

    Args:
        axes: Where to draw.
        curves: {label: ROC}, at least one.
        bands: {label: (FMR rising, lowest TAR, highest TAR), each (K,)}: an interval of the TAR at
            each FMR, for any of the curves.

    Raises:
        ValueError: if there is no curve.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.metrics import roc_curve
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4]), np.array([True, False, True]))
        >>> plot_roc(Figure().subplots(), {"m = 4": curve}).get_title()
        'ROC, AUC 0.5000'
    """
    areas = {label: f"AUC {auc_score(curve):.4f}" for label, curve in curves.items()}
    labels = _curves.legend_labels(areas)
    _curves.plot_over_log_rate(
        axes, {labels[label]: (roc.far, roc.tar) for label, roc in curves.items()}
    )
    for i, label in enumerate(curves):
        if label in bands:
            fmr, low, high = (np.asarray(values) for values in bands[label])
            shown = fmr > 0
            style = _curves.band_style(i)
            axes.fill_between(fmr[shown], low[shown], high[shown], step="post", **style)
    axes.set(xlabel="false match rate (FMR)", ylabel="true accept rate (1 - FNMR)")
    axes.set_title(_curves.title("ROC", areas))
    return axes


def plot_det(axes: Axes, curves: Mapping[str, Roc], bands: Mapping[str, Band] = {}) -> Axes:
    """Draw the false non-match rate over the false match rate, on normal-deviate scales.

    Rates of 0 and 1 have no place on them: such points are left out, and so are false match rates
    above 50 per cent, unless nothing else is left. The dotted line is where both rates are equal;
    a dot marks the equal error rate of each curve, which the title or the legend gives.

    Args:
        axes: Where to draw.
        curves: {label: ROC}, at least one.
        bands: {label: (FMR rising, lowest TAR, highest TAR), each (K,)}: an interval of the TAR at
            each FMR, for any of the curves.

    Raises:
        ValueError: if there is no curve.

    Reference: Martin et al., "The DET curve in assessment of detection task performance",
    Eurospeech 1997.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.metrics import roc_curve
        >>> scores, is_same = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False] * 2)
        >>> plot_det(Figure().subplots(), {"m = 4": roc_curve(scores, is_same)}).get_title()
        'DET, EER 50.00 %'
    """
    _curves.check_curves(curves)
    rates = {label: equal_error_rate(curve) for label, curve in curves.items()}
    texts = {label: f"EER {100 * rate:.2f} %" for label, rate in rates.items()}
    labels = _curves.legend_labels(texts)
    xs: list[float] = []
    ys: list[float] = []
    for i, (label, curve) in enumerate(curves.items()):
        x, y = _det_points(curve)
        if label in bands:
            _det_band(axes, i, bands[label], x)
        style = _curves.line_style(i, len(x))
        missing = "" if len(x) else " (no point to draw)"
        axes.plot(x, y, label=labels[label] + missing, **style)
        xs, ys = [*xs, *x], [*ys, *y]
        if len(x) > 1 and 0 < rates[label] < 1:
            at = NormalDist().inv_cdf(rates[label])
            axes.plot(at, at, "o", color=style["color"], markersize=6, zorder=4)
    if xs:
        diagonal = (min(*xs, *ys), max(*xs, *ys))
        axes.plot(diagonal, diagonal, color="0.6", linestyle=":", linewidth=1, zorder=1)
    else:
        _curves.write_note(
            axes, "No threshold with errors of both kinds:\nthere is no curve to draw."
        )
    for axis, ends in ((axes.xaxis, xs), (axes.yaxis, ys)):
        ticks = _curves.normal_quantiles(np.array(DET_TICKS) / 100)
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in DET_TICKS])
        axis.set_minor_locator(NullLocator())
        low, high = (min(ends), max(ends)) if ends else _curves.normal_quantiles(NO_CURVE)
        # A curve of few points, too, lies between two ticks.
        low, high = min(low, ticks[ticks <= high].max()), max(high, ticks[ticks >= low].min())
        axis.axes.set(**{f"{axis.axis_name}lim": (low - 0.08, high + 0.08)})
    axes.set(xlabel="false match rate (FMR), per cent", title=_curves.title("DET", texts))
    axes.set_ylabel("false non-match rate (FNMR), per cent")
    axes.grid(alpha=0.3)
    _curves.add_legend(axes, curves)
    return axes


def _det_points(curve: Roc) -> tuple[np.ndarray, np.ndarray]:
    """Return the normal deviates of FMR and FNMR, without the points that are not shown."""
    x, y = curve.far, 1.0 - curve.tar
    is_inside = (np.minimum(x, y) > 0) & (np.maximum(x, y) < 1)
    if np.any(is_inside & (x <= MAX_DET_FMR)):
        is_inside &= x <= MAX_DET_FMR
    x, y = _curves.corners(x[is_inside], y[is_inside])
    return _curves.normal_quantiles(x), _curves.normal_quantiles(y)


def _det_band(axes: Axes, i: int, band: Band, x: np.ndarray) -> None:
    """Fill the interval of the FNMR; where an end is 0 or 1 it ends at the frame."""
    fmr, low, high = (np.asarray(values, float) for values in band)
    shown = (fmr > 0) & (fmr < 1)
    at = _curves.normal_quantiles(fmr[shown])
    inside = (at >= x.min(initial=np.inf)) & (at <= x.max(initial=-np.inf))
    lowest, highest = (
        _curves.normal_quantiles(np.clip(1.0 - values[shown][inside], 1e-9, 1 - 1e-9))
        for values in (high, low)
    )
    axes.fill_between(at[inside], lowest, highest, **_curves.band_style(i))


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
        color = matplotlib.rcParams["axes.edgecolor"]
        axes.axvline(threshold, color=color, linestyle="--", label=f"threshold {threshold:.3f}")
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
