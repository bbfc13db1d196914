"""Embeddings in two and three dimensions, with the class weights: the pictures of the paper."""

import numpy as np
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d import Axes3D

from keras_sphereface import verification
from keras_sphereface.plots.style import COLOURS


def plot_circle(
    axes: Axes, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray, title: str = ""
) -> Axes:
    """2-D embeddings (N, 2) with the class weights (2, C) as rays, one colour a class."""
    reach = np.quantile(np.linalg.norm(embeddings, axis=1), 0.995)
    for label, weight in enumerate(kernel.T):
        colour = COLOURS[label % len(COLOURS)]
        own = embeddings[labels == label]
        axes.scatter(own[:, 0], own[:, 1], s=9, color=colour, alpha=0.7, linewidths=0)
        axes.plot(*np.column_stack([(0, 0), reach * weight / np.linalg.norm(weight)]), color=colour)
    axes.set(xlim=(-1.15 * reach, 1.15 * reach), ylim=(-1.15 * reach, 1.15 * reach))
    axes.set_aspect("equal")
    axes.set_title(title)
    return axes


def plot_unit_circle(
    axes: Axes, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray
) -> Axes:
    """The directions of 2-D embeddings on the circle; each class a little further out."""
    turn = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(turn), np.sin(turn), color="0.75", linewidth=1)
    unit = verification.normalize_rows(embeddings)
    for label, weight in enumerate(kernel.T):
        colour = COLOURS[label % len(COLOURS)]
        own = unit[labels == label]
        axes.scatter(own[:, 0], own[:, 1], s=8, color=colour, alpha=0.4, linewidths=0)
        axes.plot(*np.outer(weight / np.linalg.norm(weight), (1.06, 1.22)), color=colour, lw=3)
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    axes.set_aspect("equal")
    axes.set_axis_off()
    return axes


def plot_sphere(
    axes: Axes3D, embeddings: np.ndarray, labels: np.ndarray, kernel: np.ndarray, title: str = ""
) -> Axes3D:
    """The directions of 3-D embeddings on the unit sphere; `axes` has projection "3d".

    Points on the far side are paler.
    """
    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    globe = np.cos(turn) * np.sin(height), np.sin(turn) * np.sin(height), np.cos(height)
    axes.plot_wireframe(*globe, color="0.8", linewidth=0.3)
    azimuth, elevation = np.radians([axes.azim, axes.elev])
    towards = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    unit = verification.normalize_rows(embeddings)
    for label, weight in enumerate(kernel.T):
        colour = COLOURS[label % len(COLOURS)]
        own = unit[labels == label]
        near = own @ towards > 0
        for side, alpha in ((near, 0.85), (~near, 0.3)):
            axes.scatter(
                *own[side].T, s=14, color=colour, alpha=alpha, linewidths=0, depthshade=False
            )
        weight = weight / np.linalg.norm(weight)
        alpha = 1.0 if weight @ towards > 0 else 0.35
        axes.plot(*np.outer(weight, (1.0, 1.25)), color=colour, linewidth=2.5, alpha=alpha)
    axes.set_box_aspect((1, 1, 1), zoom=1.35)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1))
    axes.set_axis_off()
    axes.set_title(title, y=1.0)
    return axes
