"""Encoded images <-> pixels, with Pillow: whatever users hold becomes upright RGB."""

import io

import numpy as np
from PIL import Image, ImageOps

IMAGE_SIZE = (112, 96)  # height, width
# What `tf.io.decode_image` reads; bytes in another format are encoded anew for the records.
RECORD_FORMATS = frozenset({"JPEG", "PNG", "BMP"})
JPEG_QUALITY = 95
MAX_PIXELS = 64_000_000  # 192 MB of RGB; a larger image is no face
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")
_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"P2", b"P3", b"P5", b"P6")
_ORIENTATION = 0x0112  # the EXIF tag


class UnreadableImageError(ValueError):
    """The bytes are not an image that can be decoded; the message says why."""


def looks_like_image(encoded: bytes) -> bool:
    """Whether the bytes begin as those of a format that can be decoded do."""
    return encoded.startswith(_HEADS) or (encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP")


def decode(encoded: bytes) -> np.ndarray:
    """Encoded image -> uint8 (H, W, 3) RGB, upright as its EXIF rotation says.

    Gray-scale becomes three equal channels; transparency is laid on black.

    Raises:
        UnreadableImageError: if the bytes are empty, truncated, no image, or one of more than
            64 million pixels.
    """
    with _Explained(), _open(encoded) as opened:
        return _pixels(_upright_rgb(opened))


def fit(encoded: bytes, size: tuple[int, int]) -> bytes:
    """Encoded image -> one of (height, width) = `size` that TensorFlow can read.

    Bytes that are so already, upright and in a known format, come back untouched; any other
    image is cropped to the shape at its center, resized and encoded anew.

    Raises:
        UnreadableImageError: as `decode`; the whole image is decoded to be sure.
    """
    with _Explained(), _open(encoded) as opened:
        if opened.size == size[::-1] and _is_plain(opened):
            if opened.format == "JPEG":
                # An eighth of the size still decodes every coefficient, in half the time.
                opened.draft("L", (1, 1))
            opened.load()
            return encoded
        return encode(crop_to(np.asarray(_upright_rgb(opened)), size))


class _Explained:
    """On damaged files Pillow's decoders raise almost anything, struct.error included."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, Exception) and not isinstance(
            error, UnreadableImageError | MemoryError
        ):
            message = str(error).split("<_io")[0].strip() or "damaged"
            raise UnreadableImageError(message) from error


def _open(encoded):
    if not encoded:
        raise UnreadableImageError("the file is empty")
    # Only these: the loaders of other formats may start programs, as that of EPS does.
    opened = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    if opened.width * opened.height > MAX_PIXELS:
        raise UnreadableImageError(f"the image has more than {MAX_PIXELS:,} pixels")
    return opened


def _pixels(picture):
    # `np.asarray` would copy once more, which takes a quarter as long as decoding.
    width, height = picture.size
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(height, width, 3)


def _is_plain(opened):
    """Whether `tf.io.decode_image` would read the same pixels as `decode`."""
    return (
        opened.format in RECORD_FORMATS
        and opened.mode in ("RGB", "L")
        and "transparency" not in opened.info
        and _is_upright(opened)
    )


def _is_upright(opened):
    # Reading EXIF takes as long as opening the file, and most files have none.
    if "exif" not in opened.info and opened.format not in ("PNG", "TIFF", "WEBP"):
        return True
    return opened.getexif().get(_ORIENTATION, 1) == 1


def _upright_rgb(opened):
    upright = opened if _is_upright(opened) else ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):  # 16 bits of gray, which `convert` would clip
        sixteen_bits = np.asarray(upright).astype(np.uint32)
        upright = Image.fromarray(((sixteen_bits + 128) // 257).astype(np.uint8))
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, upright)
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def encode(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) RGB -> JPEG of quality 95 without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """uint8 (H, W, 3) RGB -> PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def crop_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest central part with the shape of `size`, resized to (height, width)."""
    height, width = size
    fitted = ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)
