"""What all figures share."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's eight colors, told apart by color-blind readers too; black last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "osD^vPX*"


def color_of(number: int) -> str:
    """The color of the class or line with this number, from 0; after eight they repeat."""
    return COLORS[number % len(COLORS)]


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend for the whole figure below it, with the entries of `axes`."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def figure_rgb(figure: Figure, dpi: float = 100.0) -> np.ndarray:
    """The figure as an image, uint8 (H, W, 3), for example for `tf.summary.image`."""
    canvas = FigureCanvasAgg(figure)
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas.draw()
    figure.set_dpi(before)
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
