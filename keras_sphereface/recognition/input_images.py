"""Images as users have them, to pixels: paths, bytes, arrays and images of Pillow."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_sphereface.data import images
from keras_sphereface.data.types import MAX_IMAGE_BYTES, TOO_LARGE

# A path, the bytes of an image file, RGB pixels uint8 (H, W, 3), or an image of Pillow.
InputImage = str | os.PathLike | bytes | np.ndarray | Image.Image


class DoubtfulImageError(ValueError):
    """An image that is not compared: unreadable, without a face, with several, or of poor quality.

    Attributes:
        image: Its path, or "image 3" of images without.
        reason: Str. What is wrong with it.

    Example:
        >>> error = DoubtfulImageError("ada.jpg", "no face is detected")
        >>> str(error), error.reason
        ('ada.jpg: no face is detected', 'no face is detected')
    """

    def __init__(self, image: str, reason: str) -> None:
        super().__init__(f"{image}: {reason}")
        self.image, self.reason = image, reason


def as_images(value: Any) -> list[InputImage]:
    """Return a list of images from one image, or from several.

    Example:
        >>> len(as_images("ada.jpg")), len(as_images(np.zeros((3, 112, 96, 3), np.uint8)))
        (1, 3)
    """
    is_one = isinstance(value, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    is_one = is_one or (isinstance(value, np.ndarray) and value.ndim == 3)
    return [value] if is_one else list(value)


def name_of(image: InputImage, number: int) -> str:
    """Return the path of an image, or "image 1" for the first of images without."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {number + 1}"


def read_image(image: InputImage, name: str) -> np.ndarray:
    """Return the pixels of an image, uint8 (H, W, 3) RGB, upright.

    Args:
        image: A path, the bytes of an image file, pixels uint8 (H, W, 3) RGB, or an image of
            Pillow.
        name: Its name for messages.

    Raises:
        FileNotFoundError: If there is no such file.
        DoubtfulImageError: If it cannot be decoded.
        TypeError, ValueError: If it is something else.

    Example:
        >>> read_image(np.zeros((4, 6, 3), np.uint8), "black").shape
        (4, 6, 3)
    """
    if isinstance(image, str | os.PathLike):
        image = read_content(Path(image), name)
    try:
        if isinstance(image, bytes | bytearray | memoryview):
            return images.decode(bytes(image))
        if isinstance(image, Image.Image):
            return images.pixels_of(image)
    except images.UnreadableImageError as error:
        raise DoubtfulImageError(name, f"cannot be read: {error}") from error
    if not isinstance(image, np.ndarray):
        raise TypeError(
            "An image must be a path, the bytes of a file, pixels uint8 (H, W, 3) or an image of "
            f"Pillow. Received: {type(image).__name__}"
        )
    return _checked_pixels(image, name)


def read_content(path: Path, name: str) -> bytes:
    """Return the bytes of an image file.

    Raises:
        FileNotFoundError, ValueError: If there is no such file.
        DoubtfulImageError: If it is too large for an image.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "which does not exist"
        error = ValueError if path.is_dir() else FileNotFoundError
        raise error(f"An image must be a file. Received: {path}, {what}")
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise DoubtfulImageError(name, f"cannot be read: {TOO_LARGE}")
    return path.read_bytes()


def _checked_pixels(image: np.ndarray, name: str) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            "Pixels must be uint8 (H, W, 3), RGB 0..255; of floats in [0, 1] give "
            f"(255 * image).round().astype(np.uint8). Received: {image.dtype} {image.shape}, {name}"
        )
    return image


def names_of(images_given: Sequence[InputImage]) -> list[str]:
    """Return the name of each image, see `name_of`."""
    return [name_of(image, number) for number, image in enumerate(images_given)]
