"""The geometry of the loss in figures, from the functions that training uses."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from keras_sphereface.config import MarginFiguresConfig
from keras_sphereface.config.rules import check_margin_settings
from keras_sphereface.functional import annealing, geometry, margins
from keras_sphereface.heads import ArcFace, CosFace, SphereFace2, SphereFaceR
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.plots.margins import (
    plot_angle_curves,
    plot_plane_regions,
    plot_separation,
    plot_smallest_m,
    plot_sphere_regions,
)
from keras_sphereface.plots.style import legend_below, tone
from keras_sphereface.plots.training import plot_lambda, plot_training_curve
from keras_sphereface.reporting.figures import save_light_and_dark
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import progress_bar, stage

WIDTH = 9.0  # inches: at the width of a page, 900 pixels, letters keep their size
GRID = 201  # points along a side of plane and sphere
ANNEALED_STEP = 1659  # from which on the lambda of Liu et al. is 5
TWO_CLASS_ANGLES = (30, 60, 90, 120, 150, 180)  # degrees
MANY_CLASSES = (3, 4, 6, 10)
MANY_CLASS_BOUND = 3.0  # Liu et al., property 3


def psi_and_slope(theta: np.ndarray, m: int, annealing_lambda: float) -> np.ndarray:
    """Return the trained target and its slope in theta: (N,) -> (2, N).

    Args:
        theta: Angles in radians, (N,).
        m: Int >= 1. The margin.
        annealing_lambda: Float >= 0. lambda of the blend of cosine and psi; 0: psi itself.

    Example:
        >>> psi_and_slope(np.array([0.0, np.pi]), m=4, annealing_lambda=0.0)[0]
        array([ 1., -7.])
    """
    angles = tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch(angles)
        values = annealing.blend(tf.cos(angles), m, annealing_lambda)
    return np.stack([values.numpy(), tape.gradient(values, angles).numpy()])


def draw_psi(max_m: int = 6, annealing_lambda: float = 5.0) -> Figure:
    """Draw psi and its slope for m = 1 to `max_m`, pure and blended by `annealing_lambda`."""
    theta = np.linspace(0.0, np.pi, 721)
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
    grid = figure.subplots(2, 2, sharex=True)
    blended = r"$(\lambda\cos\theta + \psi(\theta))\,/\,(1 + \lambda)$"
    for column, blend, name in (
        (grid[:, 0], 0.0, r"$\psi(\theta)$"),
        (grid[:, 1], annealing_lambda, blended),
    ):
        lines = {f"m = {m}": psi_and_slope(theta, m, blend) for m in range(1, max_m + 1)}
        for row, axes in enumerate(column):
            curves = {label: values_and_slope[row] for label, values_and_slope in lines.items()}
            plot_angle_curves(axes, theta, curves)
        column[0].set(title=rf"{name}, $\lambda$ = {blend:g}", xlabel="")
    grid[0, 0].set_ylabel("value")
    grid[1, 0].set_ylabel("slope, per radian")
    legend_below(figure, grid[0, 0], max_m)
    return figure


def draw_boundaries(m: int = 4, angle: float = 60.0) -> Figure:
    """Draw regions and boundaries of two classes for three losses, in plane and on sphere.

    Args:
        m: Int >= 2. The margin of A-Softmax.
        angle: Float. Angle between the class weights in degrees.
    """
    theta_12 = np.radians(angle)
    directions = np.pi / 2 + theta_12 / 2 * np.array([1.0, -1.0])
    plane = geometry.on_circle(directions).T  # (2, 2)
    # On the sphere the class weights lie left and right of the middle.
    sphere = np.stack([plane[0], np.zeros(2), plane[1]])
    lengths, bias = np.array([1.0, 0.6]), np.array([0.0, 0.12])
    x, y = np.linspace(-1.25, 1.25, GRID), np.linspace(-0.9, 1.35, GRID)
    flat = np.stack(np.meshgrid(x, y), axis=-1)
    front = geometry.front_hemisphere(GRID)
    begin, end = geometry.class_arcs(directions, m)[::-1].ravel()[1:3]
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    grid = figure.subplots(2, 3)
    for column, length, leads_of, margin in (
        (grid[:, 0], lengths, functools.partial(geometry.softmax_leads, bias=bias), None),
        (grid[:, 1], np.ones(2), functools.partial(geometry.angular_leads, m=1), None),
        (grid[:, 2], np.ones(2), functools.partial(geometry.angular_leads, m=m), (begin, end)),
    ):
        kernel = length * plane
        plot_plane_regions(column[0], x, y, leads_of(flat, kernel), kernel, margin)
        kernel = length * sphere
        plot_sphere_regions(column[1], front, leads_of(front, kernel), kernel)
    grid[0, 0].set_title("softmax\n$w_1 x + b_1 = w_2 x + b_2$")
    grid[0, 1].set_title("modified softmax\n" r"$\cos\theta_1 = \cos\theta_2$")
    grid[0, 2].set_title(
        f"A-Softmax, m = {m}\n" r"$\psi(\theta_1) = \cos\theta_2$, $\psi(\theta_2) = \cos\theta_1$"
    )
    grid[0, 0].set_ylabel("in the plane")
    grid[1, 0].set_ylabel("on the unit sphere")
    margin_degrees = np.degrees(geometry.angular_margin(theta_12, m))
    figure.supxlabel(
        rf"$\theta_{{12}}$ = {angle:g}°. Between the boundaries of A-Softmax is the margin, "
        rf"{margin_degrees:.1f}°; without color: no class leads.",
        fontsize=10,
    )
    return figure


def margin_bounds() -> pd.DataFrame:
    """Return the smallest m of two classes and of many equally spaced ones.

    From this m on the largest intra-class angle is below the smallest inter-class angle (Liu et
    al., properties 2 and 3).

    Returns:
        A row for each case: the number of classes, the angle between neighbors in degrees, and
        the smallest m found numerically and by theory.

    Example:
        >>> margin_bounds()[["classes", "numerical"]].round(6).iloc[-1].tolist()
        [10.0, 3.0]
    """
    cases = [
        (_two(angle), geometry.two_class_bound(np.radians(angle))) for angle in TWO_CLASS_ANGLES
    ]
    cases += [(_equally_spaced(classes), MANY_CLASS_BOUND) for classes in MANY_CLASSES]
    rows = [
        (
            len(directions),
            round(np.degrees(directions[1]), 9),
            geometry.smallest_m(directions),
            theoretical,
        )
        for directions, theoretical in cases
    ]
    return pd.DataFrame(rows, columns=["classes", "degrees_between", "numerical", "theoretical"])


def draw_bounds() -> Figure:
    """Draw where classes become narrower than their distance, and how that depends on the angle."""
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    m = np.linspace(1.0, 6.0, 101)
    for axes, directions, title in (
        (left, _two(60), "2 classes, 60° apart"),
        (middle, _equally_spaced(6), "6 classes, 60° apart"),
    ):
        spreads = np.array([geometry.class_spread(directions, value) for value in m])
        plot_separation(axes, m, spreads[:, 0], spreads[:, 1], geometry.smallest_m(directions))
        axes.set(title=title, ylim=(0, 100))
    for axes in (left, middle):
        axes.legend(loc="lower right", fontsize=9)
    degrees = np.arange(15, 181, 7.5)
    three = [np.radians([angle / 2, -angle / 2, 180.0]) for angle in degrees]
    curves = {
        "2 classes": np.array([geometry.smallest_m(_two(angle)) for angle in degrees]),
        "3 classes, the third\nopposite to both": np.array([*map(geometry.smallest_m, three)]),
    }
    lines = {r"$2 + \sqrt{3}$": 2 + np.sqrt(3), "3": 3.0}
    plot_smallest_m(right, np.radians(degrees), curves, lines)
    right.set(ylim=(2, 10), title="smallest m")
    right.legend(loc="upper right", fontsize=9)
    return figure


def draw_annealing(steps: int = 2500) -> Figure:
    """Draw lambda and the weight of psi over the steps, with the arguments of Liu et al."""
    numbers = np.arange(1, steps + 1)
    lambdas = annealing.annealing_lambda(numbers).numpy()
    figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_lambda(left, numbers, lambdas)
    left.set(
        title=r"$\lambda = \max(5,\ 1000\,/\,(1 + 0.12\,$step$))$",
        ylabel=r"$\lambda$",
        ylim=(3, 3000),
    )
    plot_training_curve(right, numbers, 100 / (1 + lambdas), "", "per cent")
    right.set_title(r"weight of $\psi$ in the target, $1\,/\,(1 + \lambda)$")
    right.set_ylim(0, 20)
    for step in (1, 501, ANNEALED_STEP):
        value = lambdas[step - 1]
        left.plot(step, value, "o", color=tone(0), markersize=5)
        left.annotate(
            f"{value:.4g} at step {step}", (step, value), (9, 3), textcoords="offset points"
        )
    return figure


def target_cosines(head: AngularHead, theta: np.ndarray, step: int) -> np.ndarray:
    """Return what the head puts in the place of cos(theta) of the target class: (N,) -> (N,)."""
    embeddings = tf.constant(geometry.on_circle(theta), head.compute_dtype)
    head.build(embeddings.shape)
    context = head.context(embeddings, step=tf.constant(step, tf.int64))
    return head.target_cosine(tf.cos(tf.constant(theta)), context).numpy()


def draw_target_logits() -> Figure:
    """Draw the target cosines of the heads at their default m over the angle, without the scale.

    Dashed is what two of them put in the place of the cosines of other classes.
    """
    theta = np.linspace(0.0, np.pi, 721)
    cosines = tf.cos(tf.constant(theta))
    pure, annealed = ASoftmax(2, base=0.0, lambda_min=0.0), ASoftmax(2)
    cosface, arcface, binary = CosFace(2), ArcFace(2), SphereFace2(2)
    first, second = SphereFaceR(2, version="v1"), SphereFaceR(2, version="v2")
    v1, v2, two = (
        f"SphereFace-R v1, m = {first.m:g}",
        f"SphereFace-R v2, m = {second.m:g}",
        f"SphereFace2, m = {binary.m:g}",
    )
    heads = {
        f"SphereFace, m = {pure.m}, $\\lambda$ = 0\n(falls to {1 - 2 * pure.m})": pure,
        rf"SphereFace, m = {annealed.m}, $\lambda$ = {annealed.annealing.lambda_min:g}": annealed,
        f"CosFace, m = {cosface.m:g}": cosface,
        f"ArcFace, m = {arcface.m:g}": arcface,
        v1: first,
        v2: second,
    }
    curves = {label: target_cosines(head, theta, ANNEALED_STEP) for label, head in heads.items()}
    stretched = margins.stretched_cosine(cosines).numpy()
    curves[two] = stretched - binary.m
    others = {v2: margins.divided_angle(cosines, second.m).numpy(), two: stretched + binary.m}
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = plot_angle_curves(figure.subplots(), theta, curves, others)
    axes.set(ylim=(-2.1, 1.5), ylabel="target cosine, without the scale")
    axes.set_title(r"target class; dashed: other classes, where they are not $\cos\theta$")
    figure.legend(loc="outside right center", frameon=False)
    return figure


def margin_figures(config: MarginFiguresConfig) -> pd.DataFrame:
    """Draw every figure as PNG, SVG and dark PNG, and write bounds.csv.

    A file is complete or absent, and the same settings give the same bytes.

    Returns:
        The table of bounds.csv; see `margin_bounds`.

    Raises:
        TypeError, ValueError: If `m` is no int >= 2, or `angle` is not from 30 to 170.
    """
    check_margin_settings(config)
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    with stage("working out the bounds of m"):
        table = margin_bounds()
    with atomic_file(out / "bounds.csv") as partial:
        table.to_csv(partial, index=False)
    drawings: dict[str, Callable[[], Figure]] = {
        "psi": draw_psi,
        "boundaries": functools.partial(draw_boundaries, config.m, config.angle),
        "bounds": draw_bounds,
        "annealing": draw_annealing,
        "target_logits": draw_target_logits,
    }
    for name in progress_bar(drawings, desc="drawing", unit="figure"):
        save_light_and_dark(drawings[name], out / name)
    return table


def _two(degrees: float) -> np.ndarray:
    """Return the directions in radians of two class weights."""
    return np.radians([0.0, degrees])


def _equally_spaced(classes: int) -> np.ndarray:
    return 2 * np.pi * np.arange(classes) / classes
