"""Colors, legends and pixels that all figures share."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

# Okabe and Ito's eight colors, distinct for color-blind readers too; black last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "osD^vPX*"


def color_of(number: int) -> str:
    """Return the color of a class or line by its number from 0; after eight they repeat.

    The last, black, is light in dark figures.

    Example:
        >>> color_of(0), color_of(8)
        ('#0072B2', '#0072B2')
    """
    color = COLORS[number % len(COLORS)]
    return tone(0.0) if color == COLORS[-1] else color


def tone(level: float) -> str:
    """Return the color between that of the edges of axes (0) and that of their face (1).

    In a light figure it is the gray of this level; in a dark one it stands out as much.

    Example:
        >>> tone(0.0), tone(1.0)
        ('#000000', '#ffffff')
    """
    ink = to_rgb(matplotlib.rcParams["axes.edgecolor"])
    page = to_rgb(matplotlib.rcParams["axes.facecolor"])
    red, green, blue = ((1.0 - level) * a + level * b for a, b in zip(ink, page, strict=True))
    return to_hex((red, green, blue))


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Draw one legend for the whole figure below it, with the entries of `axes`.

    Example:
        >>> figure = Figure(layout="constrained")
        >>> axes = figure.subplots()
        >>> lines = axes.plot([0, 1], label="m = 4")
        >>> legend_below(figure, axes, columns=1)
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['m = 4']
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def figure_rgb(figure: Figure, dpi: float = 100.0) -> np.ndarray:
    """Return a figure as an image, uint8 (H, W, 3) RGB, for example for `tf.summary.image`.

    Example:
        >>> figure_rgb(Figure(figsize=(3, 2)), dpi=50).shape
        (100, 150, 3)
    """
    canvas = FigureCanvasAgg(figure)
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas.draw()
    figure.set_dpi(before)
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
