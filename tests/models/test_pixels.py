"""The scale of pixels: one formula for arrays and tensors, exact for whole pixels."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.data import preprocessing
from keras_sphereface.models.pixels import pixels_from_unit, unit_from_pixels

PIXELS = np.arange(256)


@pytest.mark.parametrize("tensor", [np.asarray, tf.constant])
def test_every_pixel_is_scaled_exactly_and_back(tensor):
    unit = unit_from_pixels(tensor(PIXELS.astype(np.float32)))
    assert np.asarray(unit).dtype == np.float32
    np.testing.assert_array_equal(unit, (2 * PIXELS - 255) / 256)  # in float64
    np.testing.assert_array_equal(pixels_from_unit(unit), PIXELS)


def test_the_pipeline_scales_by_the_same_formula():
    expected = unit_from_pixels(PIXELS.astype(np.float32))
    np.testing.assert_array_equal(preprocessing.normalize(PIXELS.astype(np.uint8)), expected)
