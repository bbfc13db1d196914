"""Embeddings in two and three dimensions, with the class weights: the images of the paper.

Each class has a color of its own, up to eight of them. Arrays are embeddings (N, 2 or 3), labels
(N,) from 0 to C - 1, and the class weights (2 or 3, C).
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Circle

from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.plots.style import color_of

BIN_DEGREES = 5  # of the histogram around the circle
VIEW = (-60.0, 25.0)  # azimuth and elevation of the eye, degrees


def plot_circle(
    axes: Axes, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray, title: str = ""
) -> Axes:
    """2-D embeddings (N, 2) as they are, with the directions of the class weights as rays."""
    reach = max(np.quantile(np.linalg.norm(embeddings, axis=1), 0.995), 1e-9)
    for label, weight in enumerate(normalize_rows(kernel.T)):
        own = embeddings[labels == label]
        axes.plot(*np.outer(weight, (0, 1.1 * reach)), color=color_of(label), linewidth=1.2)
        axes.scatter(own[:, 0], own[:, 1], s=10, color=color_of(label), alpha=0.7, linewidths=0)
    axes.set(xlim=(-1.2 * reach, 1.2 * reach), ylim=(-1.2 * reach, 1.2 * reach))
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize="small", color="0.6", labelcolor="0.3")
    axes.set_aspect("equal")
    axes.set_title(title)
    return axes


def plot_unit_circle(
    axes: Axes, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray, title: str = ""
) -> Axes:
    """The directions of 2-D embeddings (N, 2) on the circle, and around it how they are spread.

    The bars are shares of each class in steps of `BIN_DEGREES`; one as long as half the radius
    would hold the whole class. Marks inside the circle are the class weights.
    """
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.75"))
    # float64: in float32 an angle may be rounded to beyond the last edge.
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    edges = np.radians(np.arange(0, 361, BIN_DEGREES))
    for label, weight in enumerate(normalize_rows(kernel.T)):
        color, own = color_of(label), unit[labels == label]
        angles = np.mod(np.arctan2(own[:, 1], own[:, 0]), 2 * np.pi)
        counts = np.histogram(angles, edges)[0]
        shares = counts / max(counts.sum(), 1)
        axes.add_collection(_bars(edges, 1.06, shares / 2, color=color, alpha=0.65, linewidth=0))
        axes.scatter(own[:, 0], own[:, 1], s=10, color=color, alpha=0.4, linewidths=0)
        axes.plot(*np.outer(weight, (0.72, 0.93)), color=color, linewidth=3)
    axes.set(xlim=(-1.58, 1.58), ylim=(-1.58, 1.58))
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title)
    return axes


def _bars(edges, inner, lengths, **style):
    """Bars that stand on a circle: edges (K + 1,) in radians, lengths (K,)."""
    turn = np.stack([np.cos(edges), np.sin(edges)], axis=1)
    shown = np.flatnonzero(lengths)
    low, high = turn[shown], turn[shown + 1]
    outer = inner + lengths[shown, None]
    return PolyCollection(
        np.stack([inner * low, outer * low, outer * high, inner * high], axis=1), **style
    )


def plot_sphere(
    axes: Axes,
    embeddings: np.ndarray,
    labels: np.ndarray,
    kernel: np.ndarray,
    title: str = "",
    view: tuple[float, float] = VIEW,
) -> Axes:
    """The directions of 3-D embeddings (N, 3) on the unit sphere, as seen from far away.

    What is on the far side is seen through the sphere: points are hollow, and rays, the directions
    of the class weights, are dashed.

    Args:
        axes: ordinary, two-dimensional ones.
        embeddings, labels, kernel: as for this module.
        title: of the axes.
        view: azimuth and elevation of the eye in degrees.
    """
    towards = towards_eye(*view)
    right = np.array([-np.sin(np.radians(view[0])), np.cos(np.radians(view[0])), 0.0])
    up = np.cross(towards, right)
    far, near = 1, 2  # what is drawn over what
    for line in graticule():
        depth = line @ towards
        for order, side in ((far, depth < 0), (near, depth >= 0)):
            shown = np.where(side[:, None], line, np.nan)
            color = "0.92" if order == far else "0.8"
            axes.plot(shown @ right, shown @ up, color=color, linewidth=0.6, zorder=order)
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6", linewidth=0.8, zorder=near))
    unit = normalize_rows(embeddings)
    for label, weight in enumerate(normalize_rows(kernel.T)):
        color, own = color_of(label), unit[labels == label]
        depth = own @ towards
        for order, side in ((far, depth < 0), (near, depth >= 0)):
            axes.scatter(
                own[side] @ right,
                own[side] @ up,
                s=14 if order == near else 12,
                facecolors=color if order == near else "none",
                edgecolors="none" if order == near else color,
                alpha=0.8,
                linewidths=0.7,
                zorder=order,
            )
        ray = np.outer((1.02, 1.25), weight)
        axes.plot(
            *(ray @ right, ray @ up),
            color=color,
            **(
                {"linewidth": 3, "zorder": near}
                if weight @ towards >= 0
                else {"linewidth": 2, "linestyle": (0, (1.5, 1)), "zorder": far}
            ),
        )
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title)
    return axes


def towards_eye(azimuth: float, elevation: float) -> np.ndarray:
    """The unit vector (3,) towards an eye at so many degrees."""
    a, e = np.radians([azimuth, elevation])
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])


def graticule() -> Iterator[np.ndarray]:
    """Meridians and parallels of the unit sphere every 30 degrees, as lines (K, 3)."""
    turn = np.radians(np.arange(0, 361, 6))
    for longitude in np.radians(np.arange(0, 180, 30)):
        yield np.stack(
            [np.sin(turn) * np.cos(longitude), np.sin(turn) * np.sin(longitude), np.cos(turn)], 1
        )
    for latitude in np.radians(np.arange(-60, 90, 30)):
        ring = np.cos(latitude)
        yield np.stack(
            [ring * np.cos(turn), ring * np.sin(turn), np.full_like(turn, np.sin(latitude))], 1
        )
