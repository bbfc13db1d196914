"""Embeddings in two and three dimensions with the class weights, as in the SphereFace paper.

Each class has its own color, up to eight of them. Arrays are embeddings (N, 2 or 3), labels (N,)
from 0 to C - 1, and the class weights (2 or 3, C).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba_array
from matplotlib.patches import Circle

from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.plots.style import color_of, tone

BIN_DEGREES = 5  # of the histogram around the circle
VIEW = (-60.0, 25.0)  # azimuth and elevation of the eye, degrees
FAR_SIDE, NEAR_SIDE = 1, 2  # drawing order on the sphere


def plot_circle(
    axes: Axes, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray, title: str = ""
) -> Axes:
    """Draw 2-D embeddings as they are, with the directions of the class weights as rays.

    Args:
        axes: Where to draw.
        embeddings: (N, 2).
        labels: (N,), 0 to C - 1.
        kernel: (2, C) class weights.
        title: Title of the axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> plot_circle(axes, np.eye(2), np.array([0, 1]), np.eye(2), "m = 4").get_title()
        'm = 4'
    """
    reach = max(np.quantile(np.linalg.norm(embeddings, axis=1), 0.995), 1e-9)
    for label, weight in enumerate(normalize_rows(kernel.T)):
        points = embeddings[labels == label]
        axes.plot(*np.outer(weight, (0, 1.1 * reach)), color=color_of(label), linewidth=1.2)
        axes.scatter(
            points[:, 0], points[:, 1], s=10, color=color_of(label), alpha=0.7, linewidths=0
        )
    axes.set(xlim=(-1.2 * reach, 1.2 * reach), ylim=(-1.2 * reach, 1.2 * reach))
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize="small", color=tone(0.6), labelcolor=tone(0.3))
    axes.set_aspect("equal")
    axes.set_title(title)
    return axes


def plot_unit_circle(
    axes: Axes, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray, title: str = ""
) -> Axes:
    """Draw the directions of 2-D embeddings on the circle, and their distribution around it.

    The bars are fractions of each class in steps of `BIN_DEGREES`; a bar as long as half the
    radius would hold the whole class. Marks inside the circle are the class weights.

    Args:
        axes: Where to draw.
        embeddings: (N, 2).
        labels: (N,), 0 to C - 1.
        kernel: (2, C) class weights.
        title: Title of the axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> plot_unit_circle(axes, np.eye(2), np.array([0, 1]), np.eye(2), "m = 4").get_title()
        'm = 4'
    """
    axes.add_patch(Circle((0, 0), 1, fill=False, color=tone(0.75)))
    # float64: in float32 an angle may be rounded to beyond the last edge.
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    edges = np.radians(np.arange(0, 361, BIN_DEGREES))
    for label, weight in enumerate(normalize_rows(kernel.T)):
        color, points = color_of(label), unit[labels == label]
        angles = np.mod(np.arctan2(points[:, 1], points[:, 0]), 2 * np.pi)
        counts = np.histogram(angles, edges)[0]
        fractions = counts / max(counts.sum(), 1)
        bars = _bars(edges, 1.06, fractions / 2, color=color, alpha=0.65, linewidth=0)
        axes.add_collection(bars)
        axes.plot(*np.outer(weight, (0.72, 0.93)), color=color, linewidth=3)
    axes.scatter(unit[:, 0], unit[:, 1], s=10, color=_colors(labels), alpha=0.4, linewidths=0)
    _finish_round(axes, 1.58, title)
    return axes


def plot_sphere(
    axes: Axes,
    embeddings: np.ndarray,
    labels: np.ndarray,
    kernel: np.ndarray,
    title: str = "",
    view: tuple[float, float] = VIEW,
) -> Axes:
    """Draw the directions of 3-D embeddings on the unit sphere, as seen from far away.

    The far side is seen through the sphere: its points are hollow, and its rays, the directions of
    the class weights, are dashed.

    Args:
        axes: Where to draw: ordinary, two-dimensional axes.
        embeddings: (N, 3).
        labels: (N,), 0 to C - 1.
        kernel: (3, C) class weights.
        title: Title of the axes.
        view: Azimuth and elevation of the eye in degrees.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> plot_sphere(axes, np.eye(3), np.arange(3), np.eye(3), view=(30.0, 20.0)) is axes
        True
    """
    towards = view_direction(*view)
    azimuth = np.radians(view[0])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    screen = np.stack([right, np.cross(towards, right)], axis=1)  # (3, 2): right and up
    _draw_globe(axes, towards, screen)
    unit, colors = normalize_rows(embeddings), _colors(labels)
    is_near = unit @ towards >= 0
    hollow: dict[str, Any] = {"s": 12, "facecolors": "none", "edgecolors": colors[~is_near]}
    filled: dict[str, Any] = {"s": 14, "facecolors": colors[is_near], "edgecolors": "none"}
    for order, side, style in ((FAR_SIDE, ~is_near, hollow), (NEAR_SIDE, is_near, filled)):
        axes.scatter(*(unit[side] @ screen).T, **style, alpha=0.8, linewidths=0.7, zorder=order)
    dashed = {"linewidth": 2, "linestyle": (0, (1.5, 1)), "zorder": FAR_SIDE}
    solid = {"linewidth": 3, "zorder": NEAR_SIDE}
    for label, weight in enumerate(normalize_rows(kernel.T)):
        ray = np.outer((1.02, 1.25), weight) @ screen
        axes.plot(*ray.T, color=color_of(label), **(solid if weight @ towards >= 0 else dashed))
    _finish_round(axes, 1.3, title)
    return axes


def view_direction(azimuth: float, elevation: float) -> np.ndarray:
    """Return the unit vector (3,) towards an eye at an azimuth and elevation in degrees.

    Example:
        >>> view_direction(0.0, 0.0)
        array([1., 0., 0.])
    """
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])


def graticule() -> Iterator[np.ndarray]:
    """Yield meridians and parallels of the unit sphere every 30 degrees, as lines (K, 3).

    Example:
        >>> [line.shape for line in graticule()][:2]
        [(61, 3), (61, 3)]
    """
    angles = np.radians(np.arange(0, 361, 6))
    for longitude in np.radians(np.arange(0, 180, 30)):
        x, y = np.sin(angles) * np.cos(longitude), np.sin(angles) * np.sin(longitude)
        yield np.stack([x, y, np.cos(angles)], axis=1)
    for latitude in np.radians(np.arange(-60, 90, 30)):
        ring = np.cos(latitude)
        height = np.full_like(angles, np.sin(latitude))
        yield np.stack([ring * np.cos(angles), ring * np.sin(angles), height], axis=1)


def _draw_globe(axes: Axes, towards: np.ndarray, screen: np.ndarray) -> None:
    gap = np.full((1, 3), np.nan)
    line = np.concatenate([np.append(part, gap, axis=0) for part in graticule()])
    is_near = line @ towards >= 0
    for order, side, color in ((FAR_SIDE, ~is_near, tone(0.92)), (NEAR_SIDE, is_near, tone(0.8))):
        points = np.where(side[:, None], line, np.nan) @ screen
        axes.plot(*points.T, color=color, linewidth=0.6, zorder=order)
    outline = Circle((0, 0), 1, fill=False, color=tone(0.6), linewidth=0.8, zorder=NEAR_SIDE)
    axes.add_patch(outline)


def _colors(labels: np.ndarray) -> np.ndarray:
    """Return the colors (N, 4) of labels (N,)."""
    named = [color_of(label) for label in range(max(labels, default=0) + 1)]
    return to_rgba_array(named)[labels]


def _finish_round(axes: Axes, reach: float, title: str) -> None:
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title)


def _bars(edges: np.ndarray, inner: float, lengths: np.ndarray, **style: Any) -> PolyCollection:
    """Return bars that stand on a circle: edges (K + 1,) in radians, lengths (K,)."""
    directions = np.stack([np.cos(edges), np.sin(edges)], axis=1)
    shown = np.flatnonzero(lengths)
    low, high = directions[shown], directions[shown + 1]
    outer = inner + lengths[shown, None]
    corners = np.stack([inner * low, outer * low, outer * high, inner * high], axis=1)
    return PolyCollection(list(corners), **style)
