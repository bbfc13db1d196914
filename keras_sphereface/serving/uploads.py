"""Bodies of requests, bounded in size and time, and the images in them, refused before decoding."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from keras_sphereface.data import images
from keras_sphereface.serving.limits import ServiceLimits
from keras_sphereface.serving.problems import ProblemError

# Formats whose decoders are written in C: those of plain PPM and compressed BMP take seconds.
_JPEG, _PNG, _RIFF, _WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP"
_CLOSE = {"Connection": "close"}


async def read_body(request: Request, limits: ServiceLimits) -> bytes:
    """Return the body of a request.

    Raises:
        ProblemError: 413 if it is too large, 408 if it does not arrive in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_body_bytes:
        raise _too_large(limits)
    try:
        return await asyncio.wait_for(_collect(request, limits), limits.read_seconds)
    except asyncio.TimeoutError:
        raise ProblemError(
            408,
            "too-slow",
            f"The body must arrive within {limits.read_seconds:g} seconds.",
            _CLOSE,
        ) from None
    except ClientDisconnect:
        raise ProblemError(400, "disconnected", "The body has not arrived.") from None


async def _collect(request: Request, limits: ServiceLimits) -> bytes:
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > limits.max_body_bytes:
            raise _too_large(limits)
    return bytes(body)


def _too_large(limits: ServiceLimits) -> ProblemError:
    return ProblemError(
        413,
        "body-too-large",
        f"A request has at most {limits.max_body_bytes:,} bytes, with all of its images.",
        _CLOSE,
    )


def check_image(encoded: bytes, field: str, max_pixels: int) -> None:
    """Refuse bytes that are no image by their head, and one of too many pixels.

    Args:
        encoded: The bytes of a file.
        field: Its field in the form, for messages.
        max_pixels: Height times width allowed.

    Raises:
        ProblemError: 415 for another format, 413 for too many pixels, 422 for a damaged head.
    """
    is_webp = encoded[:4] == _RIFF and encoded[8:12] == _WEBP
    if not (is_webp or encoded.startswith((_JPEG, _PNG))):
        raise ProblemError(
            415, "not-an-image", f"`{field}` must be a JPEG, PNG or WebP image.", field=field
        )
    try:
        height, width = images.size_of(encoded)
    except images.UnreadableImageError as error:
        if "pixels" in str(error):  # far too many, for the decoder too
            raise _too_many_pixels(field, max_pixels) from None
        raise unreadable(field) from None
    if height * width > max_pixels:
        raise _too_many_pixels(field, max_pixels)


def _too_many_pixels(field: str, max_pixels: int) -> ProblemError:
    return ProblemError(
        413,
        "too-many-pixels",
        f"`{field}` must have at most {max_pixels:,} pixels, height times width.",
        field=field,
    )


def unreadable(field: str) -> ProblemError:
    """Return the problem of an image that cannot be decoded."""
    return ProblemError(
        422,
        "unreadable-image",
        f"`{field}` cannot be decoded: it is damaged, cut off or too large.",
        field=field,
    )
