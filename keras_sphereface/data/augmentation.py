"""Random changes to a batch of training images, from a stateless seed."""

import math
from typing import NamedTuple

import tensorflow as tf

from keras_sphereface.data import preprocessing

LOWEST_RESOLUTION = 4  # times smaller than the image, a side
# The lowest and the highest value of each setting but `flip`.
RANGES = {
    **dict.fromkeys(("shift", "rotation"), (0.0, math.inf)),
    **dict.fromkeys(("zoom", "crop"), (0.0, 0.999)),
    **dict.fromkeys(("brightness", "contrast", "erase"), (0.0, 1.0)),
    **dict.fromkeys(("saturation", "low_resolution"), (0.0, 1.0)),
}


class Augmentation(NamedTuple):
    """What to change and by how much; call it with a batch and a seed.

    The default is the paper's: a horizontal flip of every second image, nothing else.
    """

    flip: bool = True
    shift: float = 0.0  # up to so many pixels each way
    zoom: float = 0.0  # scale within 1 +- zoom
    rotation: float = 0.0  # up to so many degrees each way
    brightness: float = 0.0  # add up to +- this share of 255
    contrast: float = 0.0  # contrast times 1 +- contrast
    erase: float = 0.0  # blank a box of up to this share of each side
    crop: float = 0.0  # cut up to this share off each side's length, stretch the rest to fill
    saturation: float = 0.0  # distance of the colors from gray times 1 +- saturation
    low_resolution: float = 0.0  # this share of the images as if taken from up to 4 times as far

    def __call__(
        self, pictures: tf.Tensor, seed, rows: tuple[tf.Tensor | int, int] | None = None
    ) -> tf.Tensor:
        """(B, H, W, 3) pixels 0..255 -> float32 pixels 0..255 of the same shape.

        Args:
            images: uint8 or float.
            seed: two integers; the same seed gives the same changes.
            rows: where the images are some rows of a larger batch, the first of them and the
                size of that batch; each row is changed as it would be there.
        """
        size = tf.shape(pictures)[0]
        first, whole = (0, size) if rows is None else rows
        random = _Uniform(seed, first, size, whole)
        if self.flip:  # before the cast: bytes are a quarter of the memory
            chosen = random.rows(random(0.0, 1.0) < 0.5)
            pictures = tf.where(
                chosen[:, None, None, None], preprocessing.mirror(pictures), pictures
            )
        pictures = tf.cast(pictures, tf.float32)
        if self.shift or self.zoom or self.rotation or self.crop:
            pictures = _move(pictures, self.shift, self.zoom, self.rotation, self.crop, random)
        if self.contrast or self.brightness:
            factor = random.rows(random(1.0 - self.contrast, 1.0 + self.contrast))
            offset = random.rows(255.0 * random(-self.brightness, self.brightness))
            factor, offset = factor[:, None, None, None], offset[:, None, None, None]
            mean = tf.reduce_mean(pictures, axis=[1, 2, 3], keepdims=True)
            pictures = tf.clip_by_value((pictures - mean) * factor + mean + offset, 0.0, 255.0)
        if self.saturation:
            factor = random.rows(random(1.0 - self.saturation, 1.0 + self.saturation))
            factor = factor[:, None, None, None]
            gray = tf.image.rgb_to_grayscale(pictures)
            pictures = tf.clip_by_value(gray + (pictures - gray) * factor, 0.0, 255.0)
        if self.low_resolution:
            pictures = _coarsen(pictures, self.low_resolution, random)
        if self.erase:
            pictures = _erase(pictures, self.erase, random)
        return pictures


class _Uniform:
    """A number for each image of the whole batch in [low, high); each call has its own seed."""

    def __init__(self, seed, first, size, whole):
        self.seed = tf.stack([tf.cast(part, tf.int32) for part in seed])
        self.first, self.size, self.whole, self.calls = first, size, whole, 0

    def __call__(self, low, high):
        self.calls += 1
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.calls)
        return tf.random.stateless_uniform([self.whole], seed, low, high)

    def rows(self, numbers):
        """Of numbers for the whole batch those for these images.

        What is computed from the numbers is computed before it is cut: vector units round the
        middle and the end of an array differently, and the cut must not be seen.
        """
        return numbers[self.first : self.first + self.size]


def _move(pictures, shift, zoom, rotation, crop, random):
    """Turn, scale and shift about the center and enlarge a box, in one bilinear resampling.

    Scaling keeps the proportions and the center, and may show what lies beyond the edge; a box
    has proportions of its own and never leaves the image.
    """
    height, width = pictures.shape[1:3]
    angle = math.radians(1.0) * random(-rotation, rotation)
    scale = 1.0 / random(1.0 - zoom, 1.0 + zoom)
    a, b = scale * tf.cos(angle), scale * tf.sin(angle)
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    shift_x = center_x - a * center_x + b * center_y + random(-shift, shift)
    shift_y = center_y - b * center_x - a * center_y + random(-shift, shift)
    rows = [[a, -b, shift_x], [b, a, shift_y]]
    if crop:
        # Place x of the enlarged box is share_x * x + start_x of the image.
        share_x, share_y = random(1.0 - crop, 1.0), random(1.0 - crop, 1.0)
        start_x = (1.0 - share_x) * (width * random(0.0, 1.0) - 0.5)
        start_y = (1.0 - share_y) * (height * random(0.0, 1.0) - 0.5)
        rows = [[x * share_x, y * share_y, x * start_x + y * start_y + one] for x, y, one in rows]
    zeros = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=random.rows(tf.stack([*rows[0], *rows[1], zeros, zeros], axis=1)),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _coarsen(pictures, share, random):
    """Shrink some images, to a quarter at most, and enlarge them again; (B, H, W, 3)."""
    chosen = random.rows(random(0.0, 1.0) < share)
    scale = random.rows(random(1.0 / LOWEST_RESOLUTION, 1.0))
    rows, columns = (_coarsening(length, scale) for length in pictures.shape[1:3])
    coarse = tf.einsum("bij,bjwc->biwc", rows, pictures)
    coarse = tf.einsum("bij,bhjc->bhic", columns, coarse)
    coarse = tf.clip_by_value(coarse, 0.0, 255.0)  # rounding may lead out of the range
    return tf.where(chosen[:, None, None, None], coarse, pictures)


def _coarsening(length, scale):
    """Shrinks a side to scale (B,) times `length` and enlarges it again: (B, length, length).

    A matrix for each image, since `tf.image.resize` has one size for a whole batch; the
    result is the same, bilinear, with antialiasing where it shrinks.
    """
    size = tf.round(length * scale)[:, None, None]
    places = tf.range(length, dtype=tf.float32)

    def resize(new, old):
        factor = old / new
        centers = (places[:, None] + 0.5) * factor  # of the new pixels, in old pixels
        distances = tf.abs(centers - places - 0.5) / tf.maximum(factor, 1.0)
        weights = tf.where(places < old, tf.nn.relu(1.0 - distances), 0.0)
        return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=2, keepdims=True))

    return tf.matmul(resize(length, size), resize(size, length))


def _erase(pictures, share, random):
    """Fill a box in each image with mid-gray, the zero of the normalized image."""
    height, width = pictures.shape[1:3]

    def inside(length):
        size = length * random(0.0, share)
        start = random(0.0, 1.0) * (length - size)
        first, end = random.rows(start), random.rows(start + size)
        places = tf.range(length, dtype=tf.float32)
        return (places >= first[:, None]) & (places < end[:, None])

    box = inside(height)[:, :, None] & inside(width)[:, None, :]
    return tf.where(box[..., None], 127.5, pictures)
