"""Figures of verification and identification: data and an `Axes` in, the `Axes` out.

Several curves share one image: they come as {label: curve}, and have a legend if there are
two or more. Legends stand below the axes, where they hide nothing; a figure with
`layout="constrained"` makes room for them.
"""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from keras_sphereface.metrics.roc import Roc
from keras_sphereface.plots.style import COLORS, color_of

# Curves that lie on one another are told apart by the gaps of the upper ones.
LINE_STYLES = ("-", "--", "-.", ":")
DET_TICKS = (0.001, 0.01, 0.1, 1, 5, 20, 40, 60, 80, 95, 99, 99.9)  # per cent
MANY_RANKS = 50  # from here on ranks have a log scale


def plot_roc(axes: Axes, curves: Mapping[str, Roc]) -> Axes:
    """True accept rate over false accept rate, the latter on a log scale.

    It begins at the smallest false accept rate above 0.

    Raises:
        ValueError: if there is no curve.
    """
    _plot_over_log_rate(axes, {label: (roc.far, roc.tar) for label, roc in curves.items()})
    axes.set(ylim=(-0.01, 1.02))
    axes.set(xlabel="false accept rate", ylabel="true accept rate", title="ROC")
    return axes


def plot_dir(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Axes:
    """Detection and identification rate over the rate of false alarms, the latter log scaled.

    Args:
        axes: where to draw.
        curves: {label: (far, dir)}, both (K,) in 0 to 1; far rises.

    Raises:
        ValueError: if there is no curve.
    """
    _plot_over_log_rate(axes, curves)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set(ylim=(-0.01, 1.02))
    axes.set(xlabel="false alarm rate", ylabel="detected and identified, per cent")
    axes.set_title("Open-set identification")
    return axes


def _plot_over_log_rate(axes, curves):
    """{label: (x, y)}, x rising, as steps over a log scale that ends at 1."""
    _check_curves(curves)
    smallest = 0.5  # so that one negative only has an axis too
    for i, (label, points) in enumerate(curves.items()):
        x, y = (np.asarray(values, dtype=float) for values in points)
        # Of equal rates the last: what is reached there.
        shown = (x > 0) & np.append(x[1:] != x[:-1], True)
        x, y = _corners(x[shown], y[shown])
        smallest = min(smallest, x.min(initial=1.0))
        axes.plot(x, y, drawstyle="steps-post", label=label, **_line(i, len(x)))
    if not _has_points(axes):
        _say(axes, "No rate above 0:\nthere is no curve to draw.")
    axes.set(xscale="log", xlim=(smallest, 1))
    # Where there are no two decades, numbers between them are needed.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if smallest < 0.02 else (1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    _add_legend(axes, curves)


def plot_det(axes: Axes, curves: Mapping[str, Roc]) -> Axes:
    """False reject rate over false accept rate, both on normal-deviate scales.

    Rates of 0 and 1 have no place on them: such points are left out. The dotted line is where
    both rates are equal.

    Raises:
        ValueError: if there is no curve.

    Reference: Martin et al., "The DET curve in assessment of detection task performance",
    Eurospeech 1997.
    """
    _check_curves(curves)
    ends = [NormalDist().inv_cdf(rate) for rate in (0.05, 0.5)]
    for i, (label, curve) in enumerate(curves.items()):
        x, y = curve.far, 1.0 - curve.tar
        inside = (np.minimum(x, y) > 0) & (np.maximum(x, y) < 1)
        x, y = (_deviates(rates) for rates in _corners(x[inside], y[inside]))
        ends += [*x, *y]
        label += "" if inside.any() else " (no point to draw)"
        axes.plot(x, y, label=label, **_line(i, len(x)))
    limits = (min(ends) - 0.1, max(ends) + 0.1)
    if _has_points(axes):
        axes.plot(limits, limits, color="0.6", linestyle=":", linewidth=1, zorder=1)
    else:
        _say(axes, "No threshold with errors of both kinds:\nthere is no curve to draw.")
    for axis in (axes.xaxis, axes.yaxis):
        ticks = _deviates(np.array(DET_TICKS) / 100)
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in DET_TICKS])
        axis.set_minor_locator(NullLocator())
    axes.set(xlim=limits, ylim=limits, title="DET")
    axes.set(xlabel="false accept rate, per cent", ylabel="false reject rate, per cent")
    axes.grid(alpha=0.3)
    _add_legend(axes, curves)
    return axes


def plot_similarity_histogram(
    axes: Axes,
    scores: np.ndarray,
    is_same: np.ndarray,
    threshold: float | None = None,
    unit: str = "cosine",
) -> Axes:
    """How the scores (P,) of matched and mismatched pairs are spread; `unit` is what they are."""
    # Images of several models are easier to compare where their cosines have one scale.
    low, high = (-0.2, 1.0) if unit == "cosine" else (scores.max(), scores.min())
    bins = np.linspace(min(scores.min(), low), max(scores.max(), high), 61)
    for chosen, label, color in (
        (~is_same, "different people", COLORS[1]),
        (is_same, "same person", COLORS[0]),
    ):
        axes.hist(scores[chosen], bins.tolist(), alpha=0.65, label=label, color=color)
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set(xlabel=unit, ylabel="pairs", title="Similarity of pairs")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(axes, axes.get_legend_handles_labels()[1])
    return axes


def plot_angle_distributions(
    axes: Axes,
    intra_counts: np.ndarray,
    inter_counts: np.ndarray,
    largest_intra: float | None = None,
    smallest_inter: float | None = None,
) -> Axes:
    """How the angles within and between classes are spread, as densities.

    Args:
        axes: where to draw.
        intra_counts, inter_counts: (N,) how many angles are in each of N equal bins over 0 to
            180 degrees.
        largest_intra, smallest_inter: degrees, each a line; None where there is no such angle.

    Raises:
        ValueError: if the counts differ in shape.
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
    _add_legend(axes, axes.get_legend_handles_labels()[1])
    return axes


def plot_cmc(axes: Axes, curves: Mapping[str, np.ndarray]) -> Axes:
    """The cumulative match characteristic: how often the mate is among the first so many.

    Args:
        axes: where to draw.
        curves: {label: (R,) identification rates in 0 to 1 at the ranks 1 to R}.

    Raises:
        ValueError: if there is no curve.
    """
    _check_curves(curves)
    for i, (label, rates) in enumerate(curves.items()):
        ranks = np.arange(1, len(rates) + 1)
        axes.plot(ranks, 100 * np.asarray(rates), label=label, **_line(i, len(rates)))
    most = max(len(rates) for rates in curves.values())
    _end_at_100(axes, min(np.min(rates) for rates in curves.values()))
    if most > MANY_RANKS:
        axes.set(xscale="log", xlim=(1, most))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0.5, most + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.set(xlabel="rank", ylabel="identified, per cent", title="CMC")
    axes.grid(alpha=0.3)
    _add_legend(axes, curves)
    return axes


def plot_distractors(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Axes:
    """Rank-1 identification over the number of distractors, the latter on a log scale.

    Args:
        axes: where to draw.
        curves: {label: (numbers of distractors (K,), rates in 0 to 1 (K,))}.

    Raises:
        ValueError: if there is no curve.
    """
    _check_curves(curves)
    for i, (label, (numbers, rates)) in enumerate(curves.items()):
        line = _line(i, len(numbers)) | {"marker": "o"}
        axes.plot(numbers, 100 * np.asarray(rates), label=label, **line)
    _end_at_100(axes, min(np.min(rates) for _, rates in curves.values()))
    axes.set(xscale="log", xlabel="distractors", ylabel="rank 1, per cent")
    low, high = axes.get_xlim()
    # Where there are no two decades, numbers between them are needed.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Identification among distractors")
    axes.grid(alpha=0.3)
    _add_legend(axes, curves)
    return axes


def _end_at_100(axes, lowest):
    """Per cent from the tens below the lowest rate to 100, with some room at both ends."""
    bottom = min(10 * np.floor(10 * lowest), 90)
    axes.set_ylim(bottom - 0.02 * (100 - bottom), 100 + 0.02 * (100 - bottom))


def _check_curves(curves):
    if not curves:
        raise ValueError(f"`curves` must hold at least one curve. Received: curves={curves}")


def _corners(x, y):
    """The points (N,) of a staircase without those inside a step: they change no image."""
    inside = np.zeros(len(x), bool)
    for values in (x, y):
        still = values[1:] == values[:-1]
        inside[1:-1] |= still[:-1] & still[1:]
    return x[~inside], y[~inside]


def _deviates(rates):
    """Where a standard normal variable is below so often: rates (N,) between 0 and 1."""
    return np.array([NormalDist().inv_cdf(rate) for rate in rates])


def _line(i, num_points):
    """How the i-th curve is drawn; a line through one point would show nothing."""
    return {
        "color": color_of(i),
        "linestyle": LINE_STYLES[i % len(LINE_STYLES)],
        "marker": "o" if num_points == 1 else None,
        "clip_on": num_points != 1,
    }


def _has_points(axes):
    return any(len(line.get_xdata()) for line in axes.lines)


def _say(axes, text):
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _add_legend(axes, labels):
    """A legend below the axes and their label, if there are two entries or more."""
    if len(labels) < 2:
        return
    columns = 80 // (max(len(label) for label in labels) + 8)  # letters that fit into a line
    below = ScaledTranslation(0, -0.48, axes.get_figure().dpi_scale_trans)  # inches
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=axes.transAxes + below,
        ncols=max(1, min(columns, len(labels))),
        frameon=False,
    )
