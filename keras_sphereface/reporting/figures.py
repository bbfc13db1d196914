"""Figures as PNG and SVG, and for light and dark pages."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from keras_sphereface.utils.atomic import atomic_file

DPI = 150  # of a PNG file
# Colors of page.css in the dark; the curves keep theirs, which are legible on both.
_DARK_PAGE, _DARK_INK, _DARK_LINE = "#16191d", "#e6e8eb", "#59616b"
DARK: dict[Any, str] = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), _DARK_PAGE),
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor"), _DARK_INK
    ),
    **dict.fromkeys(("xtick.color", "ytick.color"), _DARK_INK),
    "grid.color": _DARK_LINE,
}


class FigurePngs(NamedTuple):
    """One figure for light pages and for dark ones, as bytes of PNG files.

    Example:
        >>> draw_figure(lambda figure: figure.subplots().plot([0, 1])).light[:4]
        b'\\x89PNG'
    """

    light: bytes
    dark: bytes


def draw_figure(
    draw: Callable[[Figure], object], size: tuple[float, float] = (6.4, 4.8), dpi: float = 144
) -> FigurePngs:
    """Draw a figure twice: dark on light, and light on dark.

    Args:
        draw: Function that draws into an empty figure. Lines that are to be black on white must
            take the color `matplotlib.rcParams["axes.edgecolor"]`.
        size: (width, height) in inches.
        dpi: Pixels an inch.

    Example:
        >>> pngs = draw_figure(lambda figure: figure.subplots().plot([0, 1]), (3, 2))
        >>> pngs.light != pngs.dark
        True
    """

    def render(colors: dict[Any, str]) -> bytes:
        with matplotlib.rc_context(colors):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            return figure_png(figure, dpi)

    return FigurePngs(render({}), render(DARK))


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


def save_light_and_dark(draw: Callable[[], Figure], stem: Path) -> None:
    """Write STEM.png and STEM.svg as `save_figure` does, and STEM-dark.png for dark pages.

    Args:
        draw: Function that draws a new figure, with `plots.tone` for what is black, gray or white.
        stem: Path without suffix.

    Example:
        >>> save_light_and_dark(Figure, Path("blank"))
        >>> sorted(path.name for path in Path(".").glob("blank*"))
        ['blank-dark.png', 'blank.png', 'blank.svg']
    """
    save_figure(draw(), stem)
    with matplotlib.rc_context(DARK):
        png = figure_png(draw(), DPI)
    with atomic_file(stem.with_name(f"{stem.name}-dark.png")) as partial:
        partial.write_bytes(png)


def figure_png(figure: Figure, dpi: float = 144) -> bytes:
    """Return a figure as the bytes of a PNG file.

    Example:
        >>> figure_png(Figure())[:4]
        b'\\x89PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
