"""Encoded pictures <-> pixels, with Pillow: whatever users hold becomes upright RGB."""

import io

import numpy as np
from PIL import Image, ImageOps

IMAGE_SIZE = (112, 96)  # height, width
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".webp"})
# What `tf.io.decode_image` reads; bytes in another format are encoded anew for the records.
RECORD_FORMATS = frozenset({"JPEG", "PNG", "BMP"})
JPEG_QUALITY = 95


class UnreadableImage(ValueError):
    """The bytes are not a picture that can be decoded; the message says why."""


def decode(encoded: bytes) -> np.ndarray:
    """Encoded picture -> uint8 (H, W, 3) RGB, upright as its EXIF rotation says.

    Grey-scale becomes three equal channels; transparency is laid on black.

    Raises:
        UnreadableImage: if the bytes are empty, truncated or no picture.
    """
    picture, _ = _open(encoded)
    return np.asarray(picture)


def fit(encoded: bytes, size: tuple[int, int]) -> bytes:
    """Encoded picture -> one of (height, width) = `size` that TensorFlow can read.

    Bytes that are so already, upright and in a known format, come back untouched; any other
    picture is cropped to the shape at its centre, resized and encoded anew.

    Raises:
        UnreadableImage: as `decode`; the whole picture is decoded to be sure.
    """
    picture, as_stored = _open(encoded)
    if as_stored and picture.size == size[::-1]:
        return encoded
    return encode(crop_to(np.asarray(picture), size))


def _open(encoded):
    """The upright RGB picture, and whether `tf.io.decode_image` would read the same."""
    if not encoded:
        raise UnreadableImage("the file is empty")
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            as_stored = (
                opened.format in RECORD_FORMATS
                and opened.mode in ("RGB", "L")
                and "transparency" not in opened.info
                and opened.getexif().get(0x0112, 1) == 1
            )
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip
                eight_bits = np.asarray(upright, np.float64) / 257.0
                upright = Image.fromarray(np.rint(eight_bits).astype(np.uint8))
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
                upright = Image.alpha_composite(black, upright)
            return upright.convert("RGB"), as_stored
    # On damaged files Pillow's decoders raise almost anything, struct.error included.
    except Exception as error:
        raise UnreadableImage(str(error).split("<_io")[0].strip() or "damaged") from error


def encode(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) RGB -> JPEG of quality 95 without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def crop_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest central part with the shape of `size`, resized to (height, width)."""
    height, width = size
    fitted = ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)
