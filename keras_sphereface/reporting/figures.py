"""Figures as files."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from keras_sphereface.utils.atomic import atomic_file

DPI = 150  # of a PNG


def save_figure(figure: Figure, stem: Path) -> None:
    """Write STEM.png and STEM.svg, each whole or not at all; equal figures give equal bytes."""
    # Without a date and with ids that do not change.
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):
        for suffix, dpi, metadata in ((".png", DPI, None), (".svg", 72, {"Date": None})):
            with atomic_file(stem.with_suffix(suffix)) as partial:
                figure.savefig(partial, dpi=dpi, metadata=metadata)
