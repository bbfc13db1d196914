"""The geometry of the loss: curves over the angle, and where classes lead."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from keras_sphereface.plots.style import COLORS

LINE_COLORS = (*COLORS[:6], COLORS[7])  # without yellow, too pale for a line on white
BEHIND_TEXT = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}
LIGHT = np.array([-0.45, 0.55, 0.7])  # falls on the sphere from the upper left


def plot_angle_curves(
    axes: Axes,
    theta: np.ndarray,
    curves: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray] | None = None,
) -> Axes:
    """Quantities over the angle theta.

    Args:
        axes: where to draw.
        theta: (N,) radians, in [0, pi].
        curves: {label: (N,)}.
        others: what goes with the curve of the same label, dashed in its color.
    """
    degrees = np.degrees(theta)
    for i, (label, values) in enumerate(curves.items()):
        color = LINE_COLORS[i % len(LINE_COLORS)]
        axes.plot(degrees, values, color=color, label=label)
        if others and label in others:
            axes.plot(degrees, others[label], color=color, linestyle="--")
    axes.set(xlim=(0, 180), xlabel=r"$\theta$, degrees")
    axes.set_xticks(range(0, 181, 45))
    axes.grid(alpha=0.3)
    return axes


def plot_separation(
    axes: Axes, m: np.ndarray, largest_intra: np.ndarray, smallest_inter: np.ndarray, bound: float
) -> Axes:
    """The largest intra-class and the smallest inter-class angle over m, and where they cross.

    Args:
        axes: where to draw.
        m: (N,) margins.
        largest_intra, smallest_inter: (N,) radians.
        bound: the m from which the former is the smaller one.
    """
    for values, label, color in (
        (largest_intra, "largest intra-class", COLORS[0]),
        (smallest_inter, "smallest inter-class", COLORS[1]),
    ):
        axes.plot(m, np.degrees(values), color=color, label=label)
    axes.axvline(bound, color="black", linestyle=":", linewidth=1.2)
    axes.annotate(
        f"m = {bound:.3f}",
        (bound, 0.93),
        (6, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="center",
    )
    axes.set(xlabel="m", ylabel="angle, degrees", xlim=(m[0], m[-1]))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    return axes


def plot_smallest_m(
    axes: Axes,
    theta_12: np.ndarray,
    curves: Mapping[str, np.ndarray],
    bounds: Mapping[str, float],
) -> Axes:
    """The smallest m over the angle between two class weights.

    Args:
        axes: where to draw.
        theta_12: (N,) radians.
        curves: {label: (N,)}.
        bounds: {label: m}, each a dotted line.
    """
    for i, (label, values) in enumerate(curves.items()):
        axes.plot(np.degrees(theta_12), values, color=COLORS[i], marker="o", ms=3.5, label=label)
    for label, bound in bounds.items():
        axes.axhline(bound, color="black", linestyle=":", linewidth=1.2)
        axes.annotate(
            label,
            (0.03, bound),
            (0, -3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="top",
        )
    axes.set(xlabel=r"$\theta_{12}$, degrees", ylabel="smallest m", xlim=(0, 183))
    axes.set_xticks(range(0, 181, 45))
    axes.grid(alpha=0.3)
    return axes


def plot_plane_regions(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    leads: np.ndarray,
    kernel: np.ndarray,
    margin: tuple[float, float] | None = None,
) -> Axes:
    """Where each of two classes leads in the plane, with the class weights as arrows.

    Args:
        axes: where to draw.
        x, y: (W,) and (H,), the grid.
        leads: (H, W, 2), above 0 where a class leads; see `geometry`.
        kernel: class weights, (2, 2).
        margin: where in between no class leads, (begin, end) in radians.
    """
    _plot_regions(axes, x, y, leads)
    angles = np.arctan2(kernel[1], kernel[0])
    for label, weight in enumerate(kernel.T):
        axes.annotate(
            "",
            weight,
            (0, 0),
            arrowprops={"arrowstyle": "-|>", "color": COLORS[label], "lw": 2, "shrinkA": 0},
        )
        _write(axes, 1.12 * weight, f"$w_{label + 1}$")
    _plot_arc(axes, 0.3, np.sort(angles), r"$\theta_{12}$", 0.43)
    if margin is not None:
        _plot_arc(axes, 0.68, margin, "margin", 0.79)
    axes.plot(0, 0, "o", color="black", markersize=3)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal", xticks=[], yticks=[])
    return axes


def plot_sphere_regions(
    axes: Axes, points: np.ndarray, leads: np.ndarray, kernel: np.ndarray
) -> Axes:
    """Where each of two classes leads on the front of the unit sphere, seen from far away.

    Args:
        axes: where to draw.
        points: (S, S, 3), as `geometry.front_hemisphere` makes them.
        leads: (S, S, 2), above 0 where a class leads; see `geometry`.
        kernel: class weights, (3, 2), on the front and not opposite to one another.
    """
    line = np.linspace(-1.0, 1.0, len(points))
    rim = Circle((0, 0), 1.0, facecolor="white", edgecolor="0.3", linewidth=1)
    axes.add_patch(rim)
    drawn = _plot_regions(axes, line, line, leads)
    light = np.clip(points @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)
    shade = np.zeros((*light.shape, 4))
    shade[..., 3] = 0.3 * (1.0 - light)
    extent = (-1.0, 1.0, -1.0, 1.0)
    # Below the boundaries, which stay black.
    drawn.append(
        axes.imshow(shade, extent=extent, origin="lower", interpolation="bilinear", zorder=1.5)
    )
    for artist in drawn:
        artist.set_clip_path(rim)
    unit = kernel / np.linalg.norm(kernel, axis=0)
    way = unit @ np.stack([np.linspace(1, 0, 41), np.linspace(0, 1, 41)])
    way /= np.linalg.norm(way, axis=0)
    axes.plot(*way[:2], color="black", linestyle=":", linewidth=1.2)
    _write(axes, way[:2, 20] + (0, 0.13), r"$\theta_{12}$", bbox=BEHIND_TEXT)
    for label, weight in enumerate(unit.T):
        axes.plot(*weight[:2], "o", color=COLORS[label], markeredgecolor="black", markersize=7)
        _write(axes, weight[:2] + (0, 0.15), f"$w_{label + 1}$")
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _plot_regions(axes, x, y, leads) -> list:
    """Fill where each class leads and draw the boundaries; what is drawn."""
    drawn = []
    for label in range(leads.shape[-1]):
        own = leads[..., label]
        if not own.min() < 0 < own.max():
            continue
        levels = [0.0, own.max()]
        color = COLORS[label]
        drawn.append(axes.contourf(x, y, own, levels=levels, colors=[color], alpha=0.35))
        drawn.append(axes.contour(x, y, own, levels=[0.0], colors="black", linewidths=1.2))
    return drawn


def _plot_arc(axes, radius, ends, label, text_radius):
    begin, end = ends
    turn = np.linspace(begin, end, 61)
    axes.plot(radius * np.cos(turn), radius * np.sin(turn), color="black", linewidth=1)
    middle = text_radius * np.array([np.cos(turn[30]), np.sin(turn[30])])
    _write(axes, middle, label, bbox=BEHIND_TEXT)


def _write(axes, place, text, **options):
    axes.text(place[0], place[1], text, ha="center", va="center", **options)
