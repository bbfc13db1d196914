"""The geometry of angular margins: curves over the angle, and the regions of classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from keras_sphereface.plots.style import COLORS, color_of, tone

LINES = (0, 1, 2, 3, 4, 5, 7)  # numbers of colors, without yellow, too pale for a line on white
LIGHT = np.array([-0.45, 0.55, 0.7])  # falls on the sphere from the upper left


def plot_angle_curves(
    axes: Axes,
    theta: np.ndarray,
    curves: Mapping[str, np.ndarray],
    dashed: Mapping[str, np.ndarray] | None = None,
) -> Axes:
    """Draw quantities over the angle theta.

    Args:
        axes: Where to draw.
        theta: (N,) radians, 0 to pi.
        curves: {label: (N,)}.
        dashed: {label: (N,)}, drawn dashed in the color of the curve of the same label.

    Example:
        >>> from matplotlib.figure import Figure
        >>> theta = np.linspace(0, np.pi, 5)
        >>> axes = plot_angle_curves(Figure().subplots(), theta, {"cos": np.cos(theta)})
        >>> axes.lines[0].get_xdata()
        array([  0.,  45.,  90., 135., 180.])
    """
    degrees = np.degrees(theta)
    for i, (label, values) in enumerate(curves.items()):
        color = color_of(LINES[i % len(LINES)])
        axes.plot(degrees, values, color=color, label=label)
        if dashed and label in dashed:
            axes.plot(degrees, dashed[label], color=color, linestyle="--")
    axes.set(xlim=(0, 180), xlabel=r"$\theta$, degrees")
    axes.set_xticks(range(0, 181, 45))
    axes.grid(alpha=0.3)
    return axes


def plot_separation(
    axes: Axes, m: np.ndarray, largest_intra: np.ndarray, smallest_inter: np.ndarray, bound: float
) -> Axes:
    """Draw the largest intra-class and the smallest inter-class angle over m.

    Args:
        axes: Where to draw.
        m: (N,) margins.
        largest_intra: (N,) radians.
        smallest_inter: (N,) radians.
        bound: Smallest m with `largest_intra` below `smallest_inter`, a dotted line.

    Reference: Liu et al., "SphereFace", CVPR 2017, section 3.4.

    Example:
        >>> from matplotlib.figure import Figure
        >>> m = np.array([1.0, 3.0, 5.0])
        >>> axes = plot_separation(Figure().subplots(), m, 1.5 / m, m / 10, bound=3.873)
        >>> axes.texts[0].get_text()
        'm = 3.873'
    """
    for values, label, color in (
        (largest_intra, "largest intra-class", COLORS[0]),
        (smallest_inter, "smallest inter-class", COLORS[1]),
    ):
        axes.plot(m, np.degrees(values), color=color, label=label)
    axes.axvline(bound, color=tone(0), linestyle=":", linewidth=1.2)
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
    """Draw the smallest m over the angle between two class weights.

    Args:
        axes: Where to draw.
        theta_12: (N,) radians.
        curves: {label: (N,)}.
        bounds: {label: m}, each a dotted line.

    Example:
        >>> from matplotlib.figure import Figure
        >>> theta_12, curves = np.radians([90, 180]), {"two classes": np.array([3.7, 3.0])}
        >>> axes = plot_smallest_m(Figure().subplots(), theta_12, curves, {"m = 3": 3.0})
        >>> axes.get_ylabel()
        'smallest m'
    """
    for i, (label, values) in enumerate(curves.items()):
        axes.plot(np.degrees(theta_12), values, color=COLORS[i], marker="o", ms=3.5, label=label)
    for label, bound in bounds.items():
        axes.axhline(bound, color=tone(0), linestyle=":", linewidth=1.2)
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
    """Draw the region of each of two classes in the plane, with the class weights as arrows.

    Args:
        axes: Where to draw.
        x: (W,) horizontal coordinates of the grid.
        y: (H,) vertical coordinates of the grid.
        leads: (H, W, 2), positive in the region of a class; see `functional.geometry`.
        kernel: (2, 2) class weights.
        margin: (begin, end) in radians of the range between the regions.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.functional.geometry import angular_leads
        >>> x = np.linspace(-1, 1, 21)
        >>> leads = angular_leads(np.stack(np.meshgrid(x, x), axis=-1), np.eye(2), 2)
        >>> axes = plot_plane_regions(Figure().subplots(), x, x, leads, np.eye(2))
        >>> {"$w_1$", "$w_2$"} <= {text.get_text() for text in axes.texts}
        True
    """
    _draw_regions(axes, x, y, leads)
    angles = np.arctan2(kernel[1], kernel[0])
    for label, weight in enumerate(kernel.T):
        arrow = {"arrowstyle": "-|>", "color": COLORS[label], "lw": 2, "shrinkA": 0}
        axes.annotate("", weight, (0, 0), arrowprops=arrow)
        _write(axes, 1.12 * weight, f"$w_{label + 1}$")
    _draw_arc(axes, 0.3, np.sort(angles), r"$\theta_{12}$", 0.43)
    if margin is not None:
        _draw_arc(axes, 0.68, np.array(margin), "margin", 0.79)
    axes.plot(0, 0, "o", color=tone(0), markersize=3)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal", xticks=[], yticks=[])
    return axes


def plot_sphere_regions(
    axes: Axes, points: np.ndarray, leads: np.ndarray, kernel: np.ndarray
) -> Axes:
    """Draw the region of each of two classes on the front of the unit sphere, from far away.

    Args:
        axes: Where to draw.
        points: (S, S, 3), as `functional.geometry.front_hemisphere` makes them.
        leads: (S, S, 2), positive in the region of a class; see `functional.geometry`.
        kernel: (3, 2) class weights, on the front and not opposite to one another.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from keras_sphereface.functional.geometry import angular_leads, front_hemisphere
        >>> points, kernel = front_hemisphere(21), np.array([[0.5, -0.3], [0.1, 0.4], [0.8, 0.7]])
        >>> leads = angular_leads(points, kernel, 2)
        >>> axes = plot_sphere_regions(Figure().subplots(), points, leads, kernel)
        >>> {"$w_1$", "$w_2$"} <= {text.get_text() for text in axes.texts}
        True
    """
    line = np.linspace(-1.0, 1.0, len(points))
    rim = Circle((0, 0), 1.0, facecolor=tone(1), edgecolor=tone(0.3), linewidth=1)
    axes.add_patch(rim)
    artists = [*_draw_regions(axes, line, line, leads), _draw_shade(axes, points)]
    for artist in artists:
        artist.set_clip_path(rim)
    unit = kernel / np.linalg.norm(kernel, axis=0)
    arc = unit @ np.stack([np.linspace(1, 0, 41), np.linspace(0, 1, 41)])
    arc /= np.linalg.norm(arc, axis=0)
    axes.plot(*arc[:2], color=tone(0), linestyle=":", linewidth=1.2)
    _write(axes, arc[:2, 20] + (0, 0.13), r"$\theta_{12}$", bbox=_behind_text())
    for label, weight in enumerate(unit.T):
        axes.plot(*weight[:2], "o", color=COLORS[label], markeredgecolor=tone(0), markersize=7)
        _write(axes, weight[:2] + (0, 0.15), f"$w_{label + 1}$")
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _draw_regions(axes: Axes, x: np.ndarray, y: np.ndarray, leads: np.ndarray) -> list[Artist]:
    """Fill the region of each class and draw its boundary; return what was drawn."""
    artists: list[Artist] = []
    for label, color in zip(range(leads.shape[-1]), COLORS, strict=False):
        lead = leads[..., label]
        if lead.min() < 0 < lead.max():
            levels = [0.0, lead.max()]
            artists.append(axes.contourf(x, y, lead, levels=levels, colors=[color], alpha=0.35))
            boundary = axes.contour(x, y, lead, levels=[0.0], colors=tone(0), linewidths=1.2)
            artists.append(boundary)
    return artists


def _draw_shade(axes: Axes, points: np.ndarray) -> Artist:
    light = np.clip(points @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)
    shade = np.zeros((*light.shape, 4))
    shade[..., 3] = 0.3 * (1.0 - light)
    extent = (-1.0, 1.0, -1.0, 1.0)
    # Below the boundaries, which keep their color.
    return axes.imshow(shade, extent=extent, origin="lower", interpolation="bilinear", zorder=1.5)


def _draw_arc(axes: Axes, radius: float, ends: np.ndarray, label: str, label_radius: float) -> None:
    angles = np.linspace(ends[0], ends[1], 61)
    axes.plot(radius * np.cos(angles), radius * np.sin(angles), color=tone(0), linewidth=1)
    place = label_radius * np.array([np.cos(angles[30]), np.sin(angles[30])])
    _write(axes, place, label, bbox=_behind_text())


def _behind_text() -> dict[str, Any]:
    return {"facecolor": tone(1), "alpha": 0.75, "linewidth": 0, "pad": 1}


def _write(axes: Axes, place: np.ndarray, text: str, **style: Any) -> None:
    axes.text(place[0], place[1], text, ha="center", va="center", **style)
