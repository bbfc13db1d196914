"""Random augmentation of a batch of training images, from a stateless seed."""

import math
from typing import NamedTuple

import tensorflow as tf

from keras_sphereface.config.rules import RANGES as RANGES  # of each setting but `flip`
from keras_sphereface.models.pixels import CENTER

LOWEST_RESOLUTION = 4  # times smaller than the image, a side


class Augmentation(NamedTuple):
    """Random changes and their strength; call it with a batch and a seed.

    The default is that of the SphereFace paper: a horizontal flip of every second image.

    Attributes:
        flip: Bool. Mirror half of the images.
        shift: Float. Largest shift in pixels, each way.
        zoom: Float. Scale within 1 +- zoom.
        rotation: Float. Largest angle in degrees, each way.
        brightness: Float. Largest change, as a share of 255.
        contrast: Float. Contrast is multiplied by 1 +- contrast.
        erase: Float. Blank a box of up to this share of each side.
        crop: Float. Cut up to this share off each side's length, and stretch the image to fill.
        saturation: Float. Distance of the colors from gray is multiplied by 1 +- saturation.
        low_resolution: Float. Share of images that are shrunk, up to 4 times, and enlarged again.

    Example:

    >>> images = np.zeros((8, 112, 96, 3), np.uint8)
    >>> Augmentation(shift=4, brightness=0.2)(images, seed=(0, 1)).shape
    TensorShape([8, 112, 96, 3])
    """

    flip: bool = True
    shift: float = 0.0
    zoom: float = 0.0
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    crop: float = 0.0
    saturation: float = 0.0
    low_resolution: float = 0.0

    def __call__(
        self,
        images: tf.Tensor,
        seed: tf.Tensor | tuple,
        rows: tuple[tf.Tensor | int, int] | None = None,
    ) -> tf.Tensor:
        """Return the changed images, float32 pixels 0..255.

        Args:
            images: (B, H, W, 3) pixels 0..255, uint8 or float.
            seed: Two integers; the same seed gives the same changes.
            rows: If the images are rows of a larger batch: the first row and the size of that
                batch; each row is changed as it would be there.
        """
        size = tf.shape(images)[0]
        first, batch_size = (0, size) if rows is None else rows
        random = _Uniform(seed, first, size, batch_size)
        if self.flip:  # before the cast: bytes are a quarter of the memory
            images = _mirror_some(images, random.rows(random(0.0, 1.0) < 0.5))
        images = tf.cast(images, tf.float32)
        if self.shift or self.zoom or self.rotation or self.crop:
            images = _move(images, self.shift, self.zoom, self.rotation, self.crop, random)
        if self.contrast or self.brightness:
            factor = _per_image(random.rows(random(1.0 - self.contrast, 1.0 + self.contrast)))
            brightness = 255.0 * random(-self.brightness, self.brightness)
            offset = _per_image(random.rows(brightness))
            mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
            images = tf.clip_by_value((images - mean) * factor + mean + offset, 0.0, 255.0)
        if self.saturation:
            factor = _per_image(random.rows(random(1.0 - self.saturation, 1.0 + self.saturation)))
            gray = tf.image.rgb_to_grayscale(images)
            images = tf.clip_by_value(gray + (images - gray) * factor, 0.0, 255.0)
        if self.low_resolution:
            images = _reduce_resolution(images, self.low_resolution, random)
        if self.erase:
            images = _erase(images, self.erase, random)
        return images


def _mirror_some(images: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Mirror those of the images (B, H, W, 3) for which `mirrored` (B,) is true."""
    shape = tf.shape(images)
    # As one tall image, for which TensorFlow has a fast kernel.
    tall = tf.reshape(images, [shape[0] * shape[1], shape[2], shape[3]])
    both = tf.concat([images, tf.reshape(tf.reverse(tall, axis=[1]), shape)], axis=0)
    # A copy of whole images; `tf.where` decides pixel by pixel, which takes ten times as long.
    return tf.gather(both, tf.range(shape[0]) + tf.where(mirrored, shape[0], 0))


def _per_image(values: tf.Tensor) -> tf.Tensor:
    """Reshape (B,) values to (B, 1, 1, 1)."""
    return values[:, None, None, None]


class _Uniform:
    """Draws a number in [low, high) for each image of the batch; each call has its own seed."""

    def __init__(
        self,
        seed: tf.Tensor | tuple,
        first: tf.Tensor | int,
        size: tf.Tensor,
        batch_size: tf.Tensor | int,
    ):
        self.seed = tf.stack([tf.cast(number, tf.int32) for number in seed])
        self.first, self.size, self.batch_size, self.calls = first, size, batch_size, 0

    def __call__(self, low: float, high: float) -> tf.Tensor:
        self.calls += 1
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.calls)
        return tf.random.stateless_uniform([self.batch_size], seed, low, high)

    def rows(self, numbers: tf.Tensor) -> tf.Tensor:
        """Return, of numbers for the whole batch, those for these images.

        Compute with the numbers before this selection: vector units round the middle and the end
        of an array differently, and the selection must not change the result.
        """
        return numbers[self.first : self.first + self.size]


def _move(
    images: tf.Tensor,
    shift: float,
    zoom: float,
    rotation: float,
    crop: float,
    random: _Uniform,
) -> tf.Tensor:
    """Rotate, scale and shift about the center and enlarge a box, in one bilinear resampling.

    Scaling keeps the proportions and the center, and may show what lies beyond the edge; a box
    has random proportions and never leaves the image.
    """
    height, width = images.shape[1:3]
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
        images=images,
        transforms=random.rows(tf.stack([*rows[0], *rows[1], zeros, zeros], axis=1)),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _reduce_resolution(images: tf.Tensor, share: float, random: _Uniform) -> tf.Tensor:
    """Shrink a share of the images (B, H, W, 3), and enlarge them again."""
    selected = random.rows(random(0.0, 1.0) < share)
    scale = random.rows(random(1.0 / LOWEST_RESOLUTION, 1.0))
    rows, columns = (_coarsening_matrix(length, scale) for length in images.shape[1:3])
    coarse = tf.einsum("bij,bjwc->biwc", rows, images)
    coarse = tf.einsum("bij,bhjc->bhic", columns, coarse)
    coarse = tf.clip_by_value(coarse, 0.0, 255.0)  # rounding may lead out of the range
    return tf.where(_per_image(selected), coarse, images)


def _coarsening_matrix(length: int, scale: tf.Tensor) -> tf.Tensor:
    """Return matrices (B, length, length) that shrink a side to scale (B,) times and enlarge it.

    A matrix for each image, since `tf.image.resize` has one size for a whole batch; the
    result is the same, bilinear, with antialiasing where it shrinks.
    """
    size = tf.round(length * scale)[:, None, None]
    places = tf.range(length, dtype=tf.float32)

    def resize(new: tf.Tensor | int, old: tf.Tensor | int) -> tf.Tensor:
        factor = old / new
        centers = (places[:, None] + 0.5) * factor  # of the new pixels, in old pixels
        distances = tf.abs(centers - places - 0.5) / tf.maximum(factor, 1.0)
        weights = tf.where(places < old, tf.nn.relu(1.0 - distances), 0.0)
        return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=2, keepdims=True))

    return tf.matmul(resize(length, size), resize(size, length))


def _erase(images: tf.Tensor, share: float, random: _Uniform) -> tf.Tensor:
    """Fill a box in each image with mid-gray, the zero of the normalized image."""
    height, width = images.shape[1:3]

    def inside(length: int) -> tf.Tensor:
        size = length * random(0.0, share)
        start = random(0.0, 1.0) * (length - size)
        first, end = random.rows(start), random.rows(start + size)
        places = tf.range(length, dtype=tf.float32)
        return (places >= first[:, None]) & (places < end[:, None])

    box = inside(height)[:, :, None] & inside(width)[:, None, :]
    return tf.where(box[..., None], CENTER, images)
