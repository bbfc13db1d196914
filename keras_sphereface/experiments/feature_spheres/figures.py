"""Feature spheres side by side, one column for each loss: images, numbers and animations."""

import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from keras_sphereface import plots
from keras_sphereface.experiments.feature_spheres.statistics import LINES, RUN, numbers_of
from keras_sphereface.experiments.feature_spheres.train import Cloud, Sphere, loss_name
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.utils.progress import progress_bar

WIDTH = 1.95  # of a column, inches
FRAME_SECONDS = 0.12
TURN_FRAMES = 60
DOTS = 70  # per inch, of animations


def draw_spheres(spheres: Sequence[Sphere], names: Sequence[str]) -> Figure:
    """A column for each loss: the test images' embeddings, and below them their numbers.

    In 2-D the embeddings as they are and their directions, in 3-D their directions.

    Args:
        spheres: of one dimension.
        names: of the C people.
    """
    draws: list[Callable[..., Axes]] = [plots.plot_circle, plots.plot_unit_circle]
    if spheres[0].dim == 3:
        draws = [plots.plot_sphere]
    columns = len(spheres)
    height = WIDTH * len(draws) + 2.4
    figure = Figure(figsize=(WIDTH * columns + 1.2, height), layout="constrained")
    rows = figure.subplots(
        len(draws) + 1, columns, squeeze=False, height_ratios=[*[WIDTH] * len(draws), 1.9]
    )
    options = _options(spheres)
    for place, draw in enumerate(draws):
        for axes, sphere in zip(rows[place], spheres, strict=True):
            draw(axes, *_data(sphere.test), loss_name(sphere.m) if place == 0 else "", **options)
    for axes, sphere in zip(rows[-1], spheres, strict=True):
        _write_numbers(axes, numbers_of(sphere), is_first=axes is rows[-1, 0])
    _add_people(figure, names)
    return figure


def _write_numbers(axes, numbers, is_first):
    """A column of numbers; the first has their names on its left."""
    axes.set_axis_off()
    for line, (column, (name, form)) in enumerate(LINES.items()):
        height = 1 - (line + 0.5) / len(LINES)
        place = {"y": height, "va": "center", "transform": axes.transAxes}
        axes.text(x=0.5, s=form.format(numbers[column]), ha="center", **place)
        if is_first:
            axes.text(x=0.13, s=name, ha="right", color="0.3", **place)


def _add_people(figure, names):
    """Whose color is whose, at the lower edge."""
    longest = max(len(name) for name in names)
    # Letters of this size are so wide, in inches; rows are filled evenly.
    fitting = max(1, int(figure.get_figwidth() / (0.55 + 0.085 * longest)))
    rows = math.ceil(len(names) / fitting)
    marks = [
        Line2D([], [], marker="o", linestyle="", color=plots.color_of(label))
        for label in range(len(names))
    ]
    figure.legend(
        *(marks, [name.replace("_", " ") for name in names]),
        loc="outside lower center",
        ncols=math.ceil(len(names) / rows),
        frameon=False,
        handletextpad=0.1,
    )


def draw_shrinkage(table: pd.DataFrame) -> Figure:
    """The mean intra-class angles of `sphere_numbers.table_of` over the losses, a line a run."""
    dims = sorted(table["dim"].unique())
    figure = Figure(figsize=(4.2 * len(dims), 3.4), layout="constrained")
    for axes, dim in zip(figure.subplots(1, len(dims), squeeze=False)[0], dims, strict=True):
        for i, ((_, seed), run) in enumerate(table[table["dim"] == dim].groupby(RUN)):
            line = {"color": plots.color_of(i), "marker": plots.MARKERS[i % len(plots.MARKERS)]}
            axes.plot(run["loss"], run["mean_intra"], label=seed, **line)
        axes.set(title=f"{dim}-D embeddings", ylabel="mean intra-class angle, degrees")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(title="seed", frameon=False)
    return figure


def best_view(spheres: Sequence[Sphere]) -> tuple[float, float]:
    """Azimuth and elevation, degrees, from which most class weights are on the near side."""
    weights = np.concatenate([normalize_rows(sphere.test.kernel.T) for sphere in spheres])
    views = list(itertools.product(range(-180, 180, 15), range(-60, 61, 15)))
    # Well inside the disc or nearer still: that counts little more.
    return max(views, key=lambda view: np.tanh(3 * weights @ plots.towards_eye(*view)).sum())


def _options(spheres):
    return {"view": best_view(spheres)} if spheres[0].dim == 3 else {}


def _data(cloud: Cloud):
    return cloud.embeddings, cloud.labels, cloud.kernel


def _draw_frame(clouds, titles, text="", **options):
    """Directions only, side by side: one frame of an animation."""
    figure = Figure(figsize=(2.4 * len(clouds), 2.9), layout="constrained")
    draw = plots.plot_unit_circle if clouds[0].embeddings.shape[1] == 2 else plots.plot_sphere
    every_axes = figure.subplots(1, len(clouds), squeeze=False)[0]
    for axes, cloud, title in zip(every_axes, clouds, titles, strict=True):
        draw(axes, *_data(cloud), title, **options)
    figure.suptitle(text, fontsize="medium")
    return figure


def training_gif(spheres: Sequence[Sphere]) -> bytes:
    """How the directions move in training: a GIF of all looks of `history`; the last stays."""
    titles = [loss_name(sphere.m) for sphere in spheres]
    looks = zip(*(sphere.history for sphere in spheres), strict=True)
    options = _options(spheres)
    figures = (
        _draw_frame(clouds, titles, f"step {clouds[0].step:,}", **options) for clouds in looks
    )
    return _gif(figures, len(spheres[0].history), "training", hold=15)


def turning_gif(spheres: Sequence[Sphere]) -> bytes:
    """The 3-D spheres, turning once: a GIF."""
    clouds = [sphere.test for sphere in spheres]
    titles = [loss_name(sphere.m) for sphere in spheres]
    azimuth, elevation = best_view(spheres)
    turns = azimuth + np.linspace(0, 360, TURN_FRAMES, endpoint=False)
    figures = (_draw_frame(clouds, titles, view=(turn, elevation)) for turn in turns)
    return _gif(figures, TURN_FRAMES, "turning", hold=1)


def _gif(figures: Iterator[Figure], count: int, name: str, hold: int) -> bytes:
    """Frames as a GIF; the last is shown `hold` times as long."""
    images = []
    for figure in progress_bar(figures, total=count, desc=f"animation, {name}", unit="frame"):
        image = Image.fromarray(plots.figure_rgb(figure, DOTS))
        images.append(image.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE))
    durations = [int(1000 * FRAME_SECONDS)] * count
    durations[-1] *= hold
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
    )
    return buffer.getvalue()
