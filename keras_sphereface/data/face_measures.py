"""Measures of single faces, from thumbnails of a quarter of the template's size.

They cost a few per cent of decoding and encoding, so that a conversion takes them of every face.
What each tells, and how often it errs, was measured on 8,086 aligned faces of LFW and 600 generated
ones, at 112 x 96.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from keras_sphereface.data import alignment

HEIGHT = 28  # of a thumbnail; its width follows from the shape of the face
# Kinds of findings, and their bits.
UPSIDE_DOWN, ALIGNED_TWICE, POOR_FIT, BGR, GRAY, SEVERAL_FACES = (
    "upside down",
    "aligned twice",
    "poor fit to the template",
    "BGR",
    "gray",
    "several faces",
)
KINDS = (UPSIDE_DOWN, ALIGNED_TWICE, POOR_FIT, BGR, GRAY, SEVERAL_FACES)

# Found in 93 % of faces that are turned, and in 0.2 % of those that are not.
TURNED_BY, TURNED_FIT = 0.3, 0.4
# Faces of LFW: 1 % are below. Not aligned, but centered: 14 %; cropped at random: 60 %.
LOWEST_FIT = 0.2
# Aligned twice: 98 % fit worse and have at least so much black; of other faces 0.1 %.
TWICE_FIT, TWICE_BLACK = 0.25, 0.3
BLACK = 4  # JPEG does not keep zeros
# Mean spread of the channels, of 255. Of 8,086 faces of LFW 16 are below, all but one below 1.
GRAY_SPREAD = 2.0

_RED, _GREEN, _BLUE = (np.float32(weight) for weight in (0.299, 0.587, 0.114))  # of brightness
_AT_ONCE = 64  # images; OpenCV takes no more than 128 channels
_BLUR = 3.0  # pixels of a thumbnail: light and shadow vary slower than eyes and mouth
_EDGE_WEIGHT = 1.5  # of edges beside brightness: drawn faces have bright eyes


class FaceMeasures(NamedTuple):
    """Measures of N faces, each (N,).

    Attributes:
        fit: Fit of eyes, nose and mouth to the five-point template, -2.5 ... 2.5: the correlation
            of brightness and 1.5 times that of horizontal edges. Aligned faces: 0.9 on average.
        turned_fit: Fit of the face turned by half a turn.
        black: Share of black pixels, which alignment puts outside of an image.
        blueness: Mean of blue above red from eyes to mouth, -255 ... 255. Skin of any color is
            redder than blue, in nearly any light: of 8,070 colored faces of LFW 3 are bluer.
        spread: Mean spread of the channels, 0 ... 255; near 0 of gray images.
    """

    fit: np.ndarray
    turned_fit: np.ndarray
    black: np.ndarray
    blueness: np.ndarray
    spread: np.ndarray

    def findings(self) -> np.ndarray:
        """Return the findings of each face as bits of `KINDS`, (N,) int64."""
        twice = (self.fit < TWICE_FIT) & (self.black >= TWICE_BLACK)
        is_better = (self.turned_fit - self.fit > TURNED_BY) & (self.turned_fit > TURNED_FIT)
        turned = ~twice & is_better
        poor = ~twice & ~turned & (self.fit < LOWEST_FIT)
        found = {
            UPSIDE_DOWN: turned,
            ALIGNED_TWICE: twice,
            POOR_FIT: poor,
            BGR: self.is_bluer,
            GRAY: self.is_gray,
        }
        bits = np.zeros(len(self.fit), np.int64)
        for kind, are_found in found.items():
            bits |= are_found * bit_of(kind)
        return bits

    @property
    def is_gray(self) -> np.ndarray:
        return self.spread < GRAY_SPREAD

    @property
    def is_bluer(self) -> np.ndarray:
        return ~self.is_gray & (self.blueness > 0)


def bit_of(kind: str) -> int:
    """Return the bit of a kind of findings.

    >>> bit_of(UPSIDE_DOWN), bit_of(ALIGNED_TWICE)
    (1, 2)
    """
    return 1 << KINDS.index(kind)


def kinds_of(bits: int) -> Iterator[str]:
    """Yield the kinds of the findings of a face.

    >>> list(kinds_of(9))
    ['upside down', 'BGR']
    """
    return (kind for kind in KINDS if bits & bit_of(kind))


def thumbnail_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of the thumbnail of a face of `size`.

    >>> thumbnail_size((112, 96))
    (28, 24)
    """
    return HEIGHT, max(1, round(HEIGHT * size[1] / size[0]))


def thumbnail(face: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return the thumbnail of a face, uint8 (28, W', 3), averaged over squares of pixels.

    Args:
        face: uint8 (H, W, 3) RGB, perhaps reduced already.
        size: (height, width) of the face; by default that of `face`.
    """
    height, width = thumbnail_size(size or face.shape[:2])
    while face.shape[0] % (2 * height) == face.shape[1] % (2 * width) == 0:
        # By halves, for which OpenCV has a fast kernel.
        half = (face.shape[1] // 2, face.shape[0] // 2)
        face = cv2.resize(face, half, interpolation=cv2.INTER_AREA)
    return cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)


def measure_faces(thumbnails: np.ndarray) -> FaceMeasures:
    """Measure faces by their thumbnails.

    Args:
        thumbnails: uint8 (N, 28, W', 3) RGB.

    >>> blue = np.zeros((1, 28, 24, 3), np.uint8) + np.array([0, 0, 200], np.uint8)
    >>> [list(kinds_of(bits)) for bits in measure_faces(blue).findings()]
    [['poor fit to the template', 'BGR']]
    """
    parts = [_measure(thumbnails[i : i + _AT_ONCE]) for i in range(0, len(thumbnails), _AT_ONCE)]
    return FaceMeasures(*map(np.concatenate, zip(*parts, strict=True)))


def _measure(thumbnails: np.ndarray) -> FaceMeasures:
    height, width = thumbnails.shape[1:3]
    rows, columns = slice(2 * height // 5, 6 * height // 7), slice(width // 4, 3 * width // 4)
    # Plane by plane: NumPy is slow along an axis of three.
    red, green, blue = np.ascontiguousarray(thumbnails.transpose(3, 0, 1, 2))
    high, low = (function(function(red, green), blue) for function in (np.maximum, np.minimum))
    red, green, blue = (plane.astype(np.float32) for plane in (red, green, blue))
    fit, turned_fit = _fits(_RED * red + _GREEN * green + _BLUE * blue)
    middle = blue[:, rows, columns] - red[:, rows, columns]
    return FaceMeasures(
        fit=fit,
        turned_fit=turned_fit,
        black=(high <= BLACK).mean(axis=(1, 2)),
        blueness=middle.mean(axis=(1, 2)),
        spread=(high - low).mean(axis=(1, 2)),
    )


def _fits(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fit of gray thumbnails (N, 28, W'), and of the same turned by half a turn."""
    dark, edged, inside = _expected(gray.shape[2])
    slope = np.abs(gray[:, 2:] - gray[:, :-2])
    edges = np.zeros_like(gray)
    # Relative to the image's mean: neither contrast nor a black border may weigh too much.
    edges[:, 1:-1] = slope / (slope + slope.mean(axis=(1, 2), keepdims=True) + 1e-6)
    brightness = _without_light(gray).reshape(len(gray), -1)
    edges = edges.reshape(len(gray), -1)
    # Turned by half a turn, the first pixel is the last one.
    upright, turned = (
        _correlations(brightness[:, pixels], dark)
        + _EDGE_WEIGHT * _correlations(edges[:, pixels], edged)
        for pixels in (inside, brightness.shape[1] - 1 - inside)
    )
    return upright, turned


def _correlations(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    # By `einsum`: the threads of BLAS would cost more than this.
    return np.einsum("np,p->n", _standardized(values), expected)


def _without_light(gray: np.ndarray) -> np.ndarray:
    # Many images as channels of one: OpenCV takes as long for one of them as for 16.
    stacked = np.ascontiguousarray(gray.transpose(1, 2, 0))
    blurred = cv2.GaussianBlur(stacked, (0, 0), _BLUR).reshape(stacked.shape)
    return (stacked - blurred).transpose(2, 0, 1)


@functools.cache
def _expected(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return brightness and edges of an aligned face in a thumbnail, and the pixels that count."""
    height = alignment.TEMPLATE_SIZE[0]
    full_width = round(width * height / HEIGHT)
    left_eye, right_eye, nose, *mouth = alignment.landmark_template((height, full_width))
    lips = np.mean(mouth, axis=0)
    dark = _spots(
        full_width,
        [
            (left_eye - (0, 3), 8, 5, -1.0),
            (right_eye - (0, 3), 8, 5, -1.0),
            (nose + (0, 5), 6, 3, -0.5),
            (lips, 11, 3.5, -0.8),
        ],
    )
    edges, inside = expected_edges(full_width)
    dark, edges = (_reduced(values, width) for values in (dark, edges))
    pixels = np.flatnonzero(_reduced(inside, width) > 0.5)
    brightness = _without_light(dark[None])
    return _standardized(brightness.ravel()[pixels]), _standardized(edges.ravel()[pixels]), pixels


def _reduced(values: np.ndarray, width: int) -> np.ndarray:
    values = values.astype(np.float32)
    return cv2.resize(values, (width, HEIGHT), interpolation=cv2.INTER_AREA)


def expected_edges(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the horizontal edges of an aligned face of 112 x `width`, and the mask that counts.

    Brows, lids, nostrils and lips are horizontal edges, and cheeks have none.
    """
    height = alignment.TEMPLATE_SIZE[0]
    left_eye, right_eye, nose, *mouth = alignment.landmark_template((height, width))
    expected = _spots(
        width,
        [
            (left_eye - (0, 4), 8, 7, 1.0),  # with the brow
            (right_eye - (0, 4), 8, 7, 1.0),
            (nose + (0, 4), 7, 4, 0.5),  # the nostrils
            (np.mean(mouth, axis=0), 12, 4, 1.0),
        ],
    )
    y, x = np.mgrid[:height, :width]
    # From brows to chin and cheek to cheek: hair and background differ from face to face.
    return expected, (np.abs(x - (width - 1) / 2) < 34) & (y > 36) & (y < 106)


def _spots(width: int, spots: list[tuple[np.ndarray, float, float, float]]) -> np.ndarray:
    """Return the sum of spots (center, half width, half height, weight): (112, `width`)."""
    y, x = np.mgrid[: alignment.TEMPLATE_SIZE[0], :width]
    return np.sum(
        [
            weight * np.exp(-(((x - center[0]) / wide) ** 2 + ((y - center[1]) / high) ** 2) / 2)
            for center, wide, high, weight in spots
        ],
        axis=0,
    )


def _standardized(values: np.ndarray) -> np.ndarray:
    """Shift and scale to mean 0 and norm 1 along the last axis; equal values become 0."""
    centered = values - values.mean(axis=-1, keepdims=True)
    norms = np.sqrt(np.einsum("...i,...i", centered, centered))[..., None]
    return centered / np.maximum(norms, 1e-9)
