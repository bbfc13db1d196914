"""Colors, legends and pixels that all figures share."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's eight colors, distinct for color-blind readers too; black last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "osD^vPX*"


def color_of(number: int) -> str:
    """Return the color of a class or line by its number from 0; after eight they repeat.

    Example:
        >>> color_of(0), color_of(8)
        ('#0072B2', '#0072B2')
    """
    return COLORS[number % len(COLORS)]


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
