"""Random changes to a batch of training pictures, from a stateless seed."""

import math
from typing import NamedTuple

import tensorflow as tf

from keras_sphereface import preprocessing


class Augmentation(NamedTuple):
    """What to change and by how much; call it with a batch and a seed.

    The default is the paper's: a horizontal flip of every second picture, nothing else.
    """

    flip: bool = True
    shift: float = 0.0  # up to so many pixels each way
    zoom: float = 0.0  # scale within 1 +- zoom
    rotation: float = 0.0  # up to so many degrees each way
    brightness: float = 0.0  # add up to +- this share of 255
    contrast: float = 0.0  # contrast times 1 +- contrast
    erase: float = 0.0  # blank a box of up to this share of each side

    def __call__(self, pictures: tf.Tensor, seed) -> tf.Tensor:
        """(B, H, W, 3) pixels 0..255 -> float32 pixels 0..255 of the same shape.

        Args:
            pictures: uint8 or float.
            seed: two integers; the same seed gives the same changes.
        """
        random = _Uniform(seed, tf.shape(pictures)[0])
        if self.flip:  # before the cast: bytes are a quarter of the memory
            chosen = random(0.0, 1.0) < 0.5
            pictures = tf.where(
                chosen[:, None, None, None], preprocessing.mirror(pictures), pictures
            )
        pictures = tf.cast(pictures, tf.float32)
        if self.shift or self.zoom or self.rotation:
            pictures = _move(pictures, self.shift, self.zoom, self.rotation, random)
        if self.contrast or self.brightness:
            factor = random(1.0 - self.contrast, 1.0 + self.contrast)[:, None, None, None]
            offset = 255.0 * random(-self.brightness, self.brightness)[:, None, None, None]
            mean = tf.reduce_mean(pictures, axis=[1, 2, 3], keepdims=True)
            pictures = tf.clip_by_value((pictures - mean) * factor + mean + offset, 0.0, 255.0)
        if self.erase:
            pictures = _erase(pictures, self.erase, random)
        return pictures


class _Uniform:
    """One number a picture in [low, high); every call draws from a seed of its own."""

    def __init__(self, seed, batch_size):
        self.seed = tf.stack([tf.cast(part, tf.int32) for part in seed])
        self.batch_size, self.calls = batch_size, 0

    def __call__(self, low, high):
        self.calls += 1
        seed = tf.random.experimental.stateless_fold_in(self.seed, self.calls)
        return tf.random.stateless_uniform([self.batch_size], seed, low, high)


def _move(pictures, shift, zoom, rotation, random):
    """Turn, scale and shift about the centre, in one bilinear resampling."""
    height, width = pictures.shape[1:3]
    angle = math.radians(1.0) * random(-rotation, rotation)
    scale = 1.0 / random(1.0 - zoom, 1.0 + zoom)
    a, b = scale * tf.cos(angle), scale * tf.sin(angle)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    shift_x = centre_x - a * centre_x + b * centre_y + random(-shift, shift)
    shift_y = centre_y - b * centre_x - a * centre_y + random(-shift, shift)
    zeros = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack([a, -b, shift_x, b, a, shift_y, zeros, zeros], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _erase(pictures, share, random):
    """Fill a box in each picture with mid-grey, the zero of the normalised picture."""
    height, width = pictures.shape[1:3]

    def inside(length):
        size = length * random(0.0, share)
        start = random(0.0, 1.0) * (length - size)
        places = tf.range(length, dtype=tf.float32)
        return (places >= start[:, None]) & (places < (start + size)[:, None])

    box = inside(height)[:, :, None] & inside(width)[:, None, :]
    return tf.where(box[..., None], 127.5, pictures)
