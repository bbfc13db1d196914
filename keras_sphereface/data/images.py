"""Encoded images <-> pixels, with Pillow: images of any common kind become upright RGB."""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

IMAGE_SIZE = (112, 96)  # height, width
# The formats that `tf.io.decode_image` reads; others are encoded anew for the records.
RECORD_FORMATS = frozenset({"JPEG", "PNG", "BMP"})
JPEG_QUALITY = 95
MAX_PIXELS = 64_000_000  # 192 MB of RGB: a guard against decompression bombs
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"P2", b"P3", b"P5", b"P6")
_ORIENTATION = 0x0112  # the EXIF tag


class UnreadableImageError(ValueError):
    """The bytes are not an image that can be decoded; the message gives the reason."""


def looks_like_image(encoded: bytes) -> bool:
    """Return whether the first bytes are those of a format that can be decoded."""
    return encoded.startswith(_MAGIC) or (encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP")


def decode(encoded: bytes) -> np.ndarray:
    """Decode an image to uint8 (H, W, 3) RGB, upright by its EXIF orientation.

    Gray-scale becomes three equal channels; transparency is laid on black.

    Raises:
        UnreadableImageError: if the bytes are empty, truncated, not an image, or one of more
            than 64 million pixels.
    """
    return _decode(encoded, "RGB")


def pixels_of(opened: Image.Image) -> np.ndarray:
    """Return an image of Pillow as uint8 (H, W, 3) RGB, upright, as `decode` does.

    Raises:
        UnreadableImageError: As `decode`.

    >>> pixels_of(Image.new("L", (4, 2), 7)).shape
    (2, 4, 3)
    """
    _check_pixels(opened)
    with _unreadable_errors():
        return np.asarray(_upright_rgb(opened))


def decode_rgbx(encoded: bytes) -> np.ndarray:
    """Decode an image as `decode` does to uint8 (H, W, 4): RGB, and a value that means nothing.

    Pillow keeps pixels so. To copy them, to warp and to encode them is faster than with three
    channels.
    """
    return _decode(encoded, "RGBX")


def _decode(encoded: bytes, mode: str) -> np.ndarray:
    with _unreadable_errors(), _open(encoded) as opened:
        image = _upright_rgb(opened)
        # `np.asarray` would copy once more, which takes a quarter as long as decoding.
        pixels = np.frombuffer(image.tobytes("raw", mode), np.uint8)
        return pixels.reshape(image.height, image.width, len(mode))


def size_of(encoded: bytes) -> tuple[int, int]:
    """Return the (height, width) that the first bytes of an image state, without decoding it.

    Raises:
        UnreadableImageError: if there is none.
    """
    with _unreadable_errors(), _open(encoded) as opened:
        return opened.height, opened.width


def fit(encoded: bytes, size: tuple[int, int]) -> bytes:
    """Return an encoded image of (height, width) = `size` that TensorFlow can read.

    Bytes that are one already, upright and in a `RECORD_FORMATS` format, are returned unchanged;
    any other image is cropped to the aspect ratio at its center, resized and encoded anew.

    Raises:
        UnreadableImageError: as `decode`; unchanged bytes are decoded too, as a check.
    """
    with _unreadable_errors(), _open(encoded) as opened:
        if opened.size == size[::-1] and _is_plain(opened):
            if opened.format == "JPEG":
                # An eighth of the size still decodes every coefficient, in half the time.
                opened.draft("L", (1, 1))
            opened.load()
            return encoded
        return encode(crop_to(np.asarray(_upright_rgb(opened)), size))


def fit_reduced(
    encoded: bytes, size: tuple[int, int], reduced: tuple[int, int]
) -> tuple[bytes, np.ndarray]:
    """Return an image as `fit` does, and its pixels, perhaps reduced.

    Args:
        encoded: Bytes of the image.
        size: (height, width) of the image to return.
        reduced: (height, width) that the pixels must have at least.

    Returns:
        The encoded image, and uint8 (H, W, 3) RGB of `size` or an even part of it: decoding less
        is faster.
    """
    with _unreadable_errors(), _open(encoded) as opened:
        if opened.size == size[::-1] and _is_plain(opened):
            if opened.format == "JPEG":
                opened.draft(None, reduced[::-1])
            return encoded, np.asarray(opened.convert("RGB"))
        face = crop_to(np.asarray(_upright_rgb(opened)), size)
        return encode(face), face


@contextlib.contextmanager
def _unreadable_errors() -> Iterator[None]:
    """Replace the errors of Pillow's decoders, which may be of any class on damaged files."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        message = str(error).split("<_io")[0].strip() or "damaged"
        raise UnreadableImageError(message) from error


def _open(encoded: bytes) -> Image.Image:
    if not encoded:
        raise UnreadableImageError("the file is empty")
    # Only these: the loaders of other formats may start programs, as that of EPS does.
    opened = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    _check_pixels(opened)
    return opened


def _check_pixels(opened: Image.Image) -> None:
    if opened.width * opened.height > MAX_PIXELS:
        raise UnreadableImageError(f"the image has more than {MAX_PIXELS:,} pixels")


def _is_plain(opened: Image.Image) -> bool:
    """Return whether `tf.io.decode_image` would read the same pixels as `decode`."""
    return (
        opened.format in RECORD_FORMATS
        and opened.mode in ("RGB", "L")
        and "transparency" not in opened.info
        and _is_upright(opened)
    )


def _is_upright(opened: Image.Image) -> bool:
    # Reading EXIF takes as long as opening the file, and most files have none.
    if "exif" not in opened.info and opened.format not in ("PNG", "TIFF", "WEBP"):
        return True
    return opened.getexif().get(_ORIENTATION, 1) == 1


def _upright_rgb(opened: Image.Image) -> Image.Image:
    upright: Image.Image = opened if _is_upright(opened) else ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):  # 16 bits of gray, which `convert` would clip
        sixteen_bits = np.asarray(upright).astype(np.uint32)
        upright = Image.fromarray(((sixteen_bits + 128) // 257).astype(np.uint8))
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, upright)
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def encode(image: np.ndarray) -> bytes:
    """Encode uint8 (H, W, 3) RGB, or (H, W, 4) of `decode_rgbx`, as JPEG.

    Of quality 95 without chroma subsampling; the fourth channel has no effect.
    """
    height, width, channels = image.shape
    if channels == len("RGBX"):
        opened = Image.frombuffer("RGBX", (width, height), image, "raw", "RGBX", 0, 1)
    else:
        opened = Image.fromarray(image)
    buffer = io.BytesIO()
    opened.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """Encode uint8 (H, W, 3) RGB as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def crop_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop `image` to the aspect ratio of `size` at its center, and resize to (height, width)."""
    height, width = size
    fitted = ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)
