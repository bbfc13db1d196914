"""Feature spheres side by side, a column for each loss: figures, numbers and animations."""

import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from PIL import Image

from keras_sphereface import plots
from keras_sphereface.experiments.feature_spheres.statistics import (
    RUN,
    SphereStatistics,
    sphere_statistics,
)
from keras_sphereface.experiments.feature_spheres.train import Cloud, Sphere
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.utils.progress import progress_bar

# Inches; narrow, so that letters of the usual size are read where a page shows 600 pixels.
COLUMN_WIDTH = 1.5
NAMES_WIDTH = 1.35  # of the names of the numbers, left of the first column
# The numbers that tell the story; all of them are in spheres.md and spheres.csv.
SHOWN = {
    "mean_intra": ("mean angle within", "{:.1f}°"),
    "smallest_inter": ("smallest between", "{:.1f}°"),
    "test_gap": ("gap to neighbor", "{:.1f}°"),
}
TEXT_HEIGHT = 0.25  # of the step, above the spheres of a frame
FRAME_SECONDS, LAST_FRAME_SECONDS = 0.12, 1.8
ROTATION_FRAMES = 48
GIF_SHADES = 12  # of each color, from white
ANIMATION_DPI = 100  # at 600 pixels, letters are still as high as those of a page


def draw_spheres(spheres: Sequence[Sphere], names: Sequence[str]) -> Figure:
    """Draw a column for each loss: the embeddings of the test images, and three numbers.

    2-D embeddings are drawn as they are and as directions, 3-D embeddings as directions.

    Args:
        spheres: Networks of one dimension.
        names: Names of the C identities.
    """
    plotters: list[Any] = [plots.plot_circle, plots.plot_unit_circle]
    if spheres[0].dim == 3:
        plotters = [plots.plot_sphere]
    columns, rows = len(spheres), len(plotters)
    figure = Figure(
        figsize=(COLUMN_WIDTH * columns + NAMES_WIDTH, COLUMN_WIDTH * rows + 1.3),
        layout="constrained",
    )
    heights = [*[COLUMN_WIDTH] * rows, 0.2 * len(SHOWN)]
    grid = figure.subplots(rows + 1, columns, squeeze=False, height_ratios=heights)
    options = _view(spheres)
    for row, plot in enumerate(plotters):
        for axes, sphere in zip(grid[row], spheres, strict=True):
            plot(axes, *_arrays(sphere.test), sphere.loss if row == 0 else "", **options)
    for axes, sphere in zip(grid[-1], spheres, strict=True):
        _write_statistics(axes, sphere_statistics(sphere), is_first=axes is grid[-1, 0])
    _add_legend(figure, names)
    return figure


def _write_statistics(axes: Axes, statistics: SphereStatistics, is_first: bool) -> None:
    """Write a column of numbers; the first has their names on its left."""
    axes.set_axis_off()
    for line, (column, (name, form)) in enumerate(SHOWN.items()):
        height = 1 - (line + 0.5) / len(SHOWN)
        place: dict[str, Any] = {"y": height, "va": "center", "transform": axes.transAxes}
        axes.text(x=0.5, s=form.format(getattr(statistics, column)), ha="center", **place)
        if is_first:
            axes.text(x=0.13, s=name, ha="right", color=plots.tone(0.3), **place)


def _add_legend(figure: Figure, names: Sequence[str]) -> None:
    """Show the color of each identity at the lower edge."""
    # Letters of this size are so wide, in inches; rows are filled evenly.
    longest = max(len(name) for name in names)
    fitting = max(1, int(figure.get_figwidth() / (0.55 + 0.085 * longest)))
    rows = math.ceil(len(names) / fitting)
    marks = [
        Line2D([], [], marker="o", linestyle="", color=plots.color_of(label))
        for label in range(len(names))
    ]
    figure.legend(
        marks,
        [name.replace("_", " ") for name in names],
        loc="outside lower center",
        ncols=math.ceil(len(names) / rows),
        frameon=False,
        handletextpad=0.1,
    )


def draw_shrinkage(table: pd.DataFrame) -> Figure:
    """Draw the mean intra-class angles of a `statistics_table` over the losses, a line a run."""
    dims = sorted(table["dim"].unique())
    figure = Figure(figsize=(4.2 * len(dims), 3.4), layout="constrained")
    for axes, dim in zip(figure.subplots(1, len(dims), squeeze=False)[0], dims, strict=True):
        for i, ((_, seed), run) in enumerate(table[table["dim"] == dim].groupby(RUN)):
            marker = plots.MARKERS[i % len(plots.MARKERS)]
            axes.plot(
                run["loss"], run["mean_intra"], label=seed, color=plots.color_of(i), marker=marker
            )
        axes.set(title=f"{dim}-D embeddings", ylabel="mean intra-class angle, degrees")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(title="seed", frameon=False)
    return figure


def best_view(spheres: Sequence[Sphere]) -> tuple[float, float]:
    """Return azimuth and elevation, degrees, with most test images on the near side."""
    images = np.concatenate([normalize_rows(sphere.test.embeddings) for sphere in spheres])
    views = list(itertools.product(range(-180, 180, 15), range(-60, 61, 15)))
    # Well inside the disc or nearer still: that counts little more.
    return max(views, key=lambda view: np.tanh(3 * images @ plots.view_direction(*view)).sum())


def training_gif(spheres: Sequence[Sphere]) -> bytes:
    """Return a GIF of all clouds of `Sphere.history`: how the directions move in training."""
    options = _view(spheres)
    steps = zip(*(sphere.history for sphere in spheres), strict=True)
    frames = _draw_frames(spheres, ((c, f"step {c[0].step:,}", options) for c in steps))
    return _gif(frames, len(spheres[0].history), "training", LAST_FRAME_SECONDS)


def rotating_gif(spheres: Sequence[Sphere]) -> bytes:
    """Return a GIF of the 3-D spheres, which rotate once."""
    clouds = [sphere.test for sphere in spheres]
    azimuth, elevation = best_view(spheres)
    azimuths = azimuth + np.linspace(0, 360, ROTATION_FRAMES, endpoint=False)
    frames = _draw_frames(spheres, ((clouds, "", {"view": (a, elevation)}) for a in azimuths))
    return _gif(frames, ROTATION_FRAMES, "rotation", FRAME_SECONDS)


def _view(spheres: Sequence[Sphere]) -> dict[str, Any]:
    return {"view": best_view(spheres)} if spheres[0].dim == 3 else {}


def _arrays(cloud: Cloud) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return cloud.embeddings, cloud.labels, cloud.kernel


def _draw_frames(
    spheres: Sequence[Sphere],
    contents: Iterable[tuple[Sequence[Cloud], str, Mapping[str, Any]]],
) -> Iterator[Figure]:
    """Yield a frame for each (clouds, text above them, options of the plot): directions only."""
    plot: Any = plots.plot_unit_circle if spheres[0].dim == 2 else plots.plot_sphere
    boxes: list[Bbox] = []
    for clouds, text, options in contents:
        above = TEXT_HEIGHT if text else 0.0
        height = COLUMN_WIDTH + 0.35 + above
        figure = Figure(figsize=(COLUMN_WIDTH * len(clouds), height))
        if not boxes:
            engine = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - above / height))
            figure.set_layout_engine(engine)
            row = figure.subplots(1, len(clouds), squeeze=False)[0]
        else:
            row = [figure.add_axes(box.bounds) for box in boxes]
        for axes, sphere, cloud in zip(row, spheres, clouds, strict=True):
            plot(axes, *_arrays(cloud), sphere.loss, **options)
        figure.text(0.5, 1 - above / 2 / height, text, ha="center", va="center")
        yield figure
        # Drawn by now. The layout of a frame takes a third of its time, and all have the same.
        boxes = boxes or [axes.get_position(original=True) for axes in row]


def _gif(figures: Iterator[Figure], count: int, name: str, last_seconds: float) -> bytes:
    """Return frames as a GIF; the last is shown for `last_seconds`."""
    images, palette = [], _palette()
    for figure in progress_bar(figures, total=count, desc=f"animation, {name}", unit="frame"):
        image = Image.fromarray(plots.figure_rgb(figure, ANIMATION_DPI))
        images.append(image.quantize(palette=palette, dither=Image.Dither.NONE))
    durations = [round(1000 * FRAME_SECONDS)] * (count - 1) + [round(1000 * last_seconds)]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
    )
    return buffer.getvalue()


def _palette() -> Image.Image:
    """Return an image of the colors of all frames: those of identities and black, over white.

    One palette for all, as colors chosen frame by frame tint what is gray, and flicker.
    """
    shares = np.linspace(0, 1, GIF_SHADES + 1)[1:, None]
    inks = np.array([to_rgb(color) for color in plots.COLORS])
    colors = np.concatenate([np.ones((1, 3)), *(1 - shares * (1 - ink) for ink in inks)])
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(255 * colors).astype(np.uint8).tobytes())
    return palette
