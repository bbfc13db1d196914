"""Figures of the field: functions that take arrays and an `Axes`, and return the `Axes`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter
from mpl_toolkits.mplot3d import Axes3D

from keras_sphereface import verification

# Okabe and Ito's eight colours, told apart by colour-blind readers too; black last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")


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


def plot_scaling(axes: Axes, table: pd.DataFrame, column: str, unit: str) -> Axes:
    """A line for each case over the number of classes, both on log scales.

    Args:
        axes: where to draw.
        table: with the columns "case", "num_classes" and `column`.
        column: what goes up.
        unit: the label of that axis.
    """
    for i, (case, rows) in enumerate(table.groupby("case", sort=False)):
        colour, marker = COLOURS[i % len(COLOURS)], "osD^vPX*"[i % 8]
        # What is smaller than one unit is drawn at one: 0 has no place on a log scale.
        values = rows[column].clip(lower=1.0)
        axes.plot(rows["num_classes"], values, marker=marker, color=colour, label=str(case))
    axes.set(xscale="log", yscale="log", xlabel="classes", ylabel=unit)
    axes.grid(alpha=0.3)
    return axes


def plot_log(
    axes: Axes, steps: np.ndarray, values: np.ndarray, title: str, unit: str, log: bool = False
) -> Axes:
    """A quantity of the training log over the steps.

    Args:
        axes: where to draw.
        steps, values: (N,); what is not finite, or on a log scale not above 0, is left out.
        title: what it is.
        unit: the label of the axis that goes up.
        log: whether that has a log scale, if there is anything to draw.
    """
    steps, values = np.asarray(steps), np.asarray(values, dtype=float)
    shown = np.isfinite(values) & ((values > 0) | (not log))
    beside = np.pad(shown, 1)
    alone = shown & ~beside[:-2] & ~beside[2:]  # a line through one point shows nothing
    axes.plot(steps, np.where(shown, values, np.nan), color=COLOURS[0], marker="o", markevery=alone)
    if log and shown.any():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(LogFormatter())
    axes.set(title=title, xlabel="step", ylabel=unit)
    axes.set_xlim(0, 1.03 * max(steps, default=1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(alpha=0.3)
    return axes


def plot_accuracies(
    axes: Axes, steps: np.ndarray, accuracy: np.ndarray, verification: pd.DataFrame | None = None
) -> Axes:
    """The training accuracy (N,) in 0 to 1, and verification accuracies with their spread.

    `verification` has the columns "step", "accuracy_mean" and "accuracy_std".
    """
    plot_log(axes, steps, 100 * np.asarray(accuracy), "Accuracy without margin", "per cent")
    if verification is not None and len(verification):
        axes.lines[0].set_label("training")
        axes.errorbar(
            verification["step"],
            100 * verification["accuracy_mean"],
            100 * verification["accuracy_std"],
            fmt="o",
            markersize=4,
            capsize=3,
            color=COLOURS[5],
            label="verification",
        )
        axes.legend(loc="lower right")
    return axes


def plot_lambda(axes: Axes, steps: np.ndarray, lambdas: np.ndarray) -> Axes:
    """lambda (N,) of the annealing on a log scale; where it is infinite the axes are shaded."""
    steps, lambdas = np.asarray(steps), np.asarray(lambdas, dtype=float)
    annealed = bool(np.any(lambdas > 0))
    plot_log(axes, steps, lambdas, "Annealing", "lambda", log=annealed)
    if not annealed:
        axes.set(title="Annealing: none", ylim=(-0.05, 1))
    if np.isinf(lambdas).any():
        last = steps[np.isinf(lambdas)].max()
        axes.axvspan(0, last, color="0.9", label="infinite: no margin")
        axes.legend(loc="best")
    return axes
