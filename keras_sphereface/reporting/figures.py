"""Figures as PNG and SVG."""

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from keras_sphereface.utils.atomic import atomic_file

DPI = 150  # of a PNG file


def save_figure(figure: Figure, stem: Path) -> None:
    """Write STEM.png and STEM.svg, each whole or not at all; equal figures give equal bytes.

    Example:
        >>> save_figure(Figure(), Path("empty"))
        >>> sorted(path.name for path in Path(".").glob("empty.*"))
        ['empty.png', 'empty.svg']
    """
    # Without a date and with ids that do not change.
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        for suffix, dpi, metadata in ((".png", DPI, None), (".svg", 72, {"Date": None})):
            with atomic_file(stem.with_suffix(suffix)) as partial:
                figure.savefig(partial, dpi=dpi, metadata=metadata)


def figure_png(figure: Figure, dpi: float = 144) -> bytes:
    """Return a figure as the bytes of a PNG file.

    Example:
        >>> figure_png(Figure())[:4]
        b'\\x89PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
