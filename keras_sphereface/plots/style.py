"""What all figures share."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's eight colours, told apart by colour-blind readers too; black last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "osD^vPX*"


def colour_of(number: int) -> str:
    """The colour of the class or line with this number, from 0; after eight they repeat."""
    return COLOURS[number % len(COLOURS)]


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend for the whole figure below it, with the entries of `axes`."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def figure_rgb(figure: Figure, dpi: float = 100.0) -> np.ndarray:
    """The figure as a picture, uint8 (H, W, 3), for example for `tf.summary.image`."""
    canvas = FigureCanvasAgg(figure)
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas.draw()
    figure.set_dpi(before)
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
