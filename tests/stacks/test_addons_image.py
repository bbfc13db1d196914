"""Rotations and shifts of training images are those of TensorFlow Addons, where that runs."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import augmentation
from tests.helpers.addons import addons_module

# Coordinates in a rotated image are rounded to 1e-5 of a pixel, and neighbors differ by up to 255.
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def tfa_image():
    return addons_module("image")


class Drawn:
    """Given numbers in place of random ones, in the order in which `_move` asks."""

    def __init__(self, *numbers):
        self.numbers = iter(numbers)

    def __call__(self, low, high):
        return tf.constant(next(self.numbers), tf.float32)

    def rows(self, numbers):
        return numbers


def images(num):
    return np.random.default_rng(0).uniform(0, 255, (num, 112, 96, 3)).astype(np.float32)


def test_a_rotation_is_that_of_tensorflow_addons(tfa_image):
    degrees = np.array([-30.0, -7.3, 0.0, 0.4, 15.0, 90.0], np.float32)
    still = np.ones(6), np.zeros(6), np.zeros(6)  # no zoom, no shift
    ours = augmentation._move(images(6), 0.0, 0.0, 90.0, 0.0, Drawn(degrees, *still))
    theirs = tfa_image.rotate(images(6), np.radians(degrees), "bilinear", "nearest")
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    assert np.abs(ours - images(6)).max(axis=(1, 2, 3)).astype(bool).tolist() == [
        *(True, True, False),
        *(True, True, True),
    ]


def test_a_shift_is_that_of_tensorflow_addons_in_the_other_direction(tfa_image):
    x, y = np.random.default_rng(1).uniform(-6, 6, (2, 5)).astype(np.float32)
    ours = augmentation._move(images(5), 6.0, 0.0, 0.0, 0.0, Drawn(np.zeros(5), np.ones(5), x, y))
    # Here the sampling grid is shifted, in TensorFlow Addons the image.
    theirs = tfa_image.translate(images(5), np.stack([-x, -y], 1), "bilinear", "nearest")
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    assert np.abs(ours - images(5)).max() > 100
