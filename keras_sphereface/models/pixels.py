"""The scale of pixels between a file, 0..255, and a network of this package, [-1, 1).

Nothing but arithmetic: for NumPy, TensorFlow in a data pipeline, and tensors of any backend.
"""

from typing import Any

CENTER, HALF_RANGE = 127.5, 128.0  # as Liu et al. did


def unit_from_pixels(pixels: Any) -> Any:
    """Return (pixel - 127.5) / 128, in [-1, 1), of float pixels 0..255; exact for whole ones."""
    return (pixels - CENTER) / HALF_RANGE


def pixels_from_unit(values: Any) -> Any:
    """Return the float pixels 0..255 of values in [-1, 1), the inverse of `unit_from_pixels`."""
    return values * HALF_RANGE + CENTER
