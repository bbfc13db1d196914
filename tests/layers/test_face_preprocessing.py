"""The first layer of a model: scales always, augments in training, continues after a restart."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import FacePreprocessing
from keras_sphereface.data import augmentation, preprocessing
from keras_sphereface.data.augmentation import Augmentation

STRENGTHS = {name: 0.5 for name in augmentation.RANGES}


def batch(num=6):
    return np.random.default_rng(0).integers(0, 256, (num, 20, 16, 3), dtype=np.uint8)


def test_outside_of_training_it_only_scales():
    layer = FacePreprocessing(**STRENGTHS)
    scaled = layer(batch())
    np.testing.assert_array_equal(scaled, preprocessing.normalize(batch()))
    assert scaled.dtype == tf.float32
    assert int(layer.step.numpy()) == 0


def test_in_training_it_flips_by_default():
    changed = FacePreprocessing()(batch(60), training=True).numpy()
    plain = preprocessing.normalize(batch(60)).numpy()
    flipped = np.all(changed == plain[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(flipped | np.all(changed == plain, axis=(1, 2, 3)))
    # Of 60; four standard deviations are 15.
    assert 15 < flipped.sum() < 45


def test_in_training_it_augments_as_augmentation():
    layer = FacePreprocessing(**STRENGTHS, seed=3)
    for step in (1, 2):
        expected = preprocessing.normalize(Augmentation(**STRENGTHS)(batch(), seed=(3, step)))
        np.testing.assert_allclose(layer(batch(), training=True), expected, atol=1e-5)


def test_each_call_draws_anew_and_the_seed_decides():
    first, again, other = (FacePreprocessing(shift=3.0, seed=seed) for seed in (0, 0, 1))
    draws = [layer(batch(), training=True).numpy() for layer in (first, again, other, first)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0.1
    assert np.abs(draws[0] - draws[3]).max() > 0.1


def test_a_compiled_function_counts_and_draws_as_eager_calls_do():
    eager, compiled = FacePreprocessing(shift=3.0), FacePreprocessing(shift=3.0)
    call = tf.function(lambda images: compiled(images, training=True))
    for _ in range(2):
        np.testing.assert_allclose(call(batch()), eager(batch(), training=True), atol=1e-5)
    assert int(compiled.step.numpy()) == 2


def test_arguments_become_an_augmentation():
    layer = FacePreprocessing(flip=False, **STRENGTHS, seed=4)
    assert layer.augment == Augmentation(flip=False, **STRENGTHS)


def test_arguments_and_defaults_are_those_of_augmentation():
    parameters = inspect.signature(FacePreprocessing).parameters
    assert {
        name: parameters[name].default for name in Augmentation._fields
    } == Augmentation()._asdict()
    assert set(parameters) - set(Augmentation._fields) == {"seed", "kwargs"}


def test_it_is_the_shape_that_keras_expects():
    layer = FacePreprocessing()
    assert tuple(layer.compute_output_shape((None, 20, 16, 3))) == (None, 20, 16, 3)
    outputs = layer(keras.Input((20, 16, 3), dtype="uint8"))
    assert tuple(outputs.shape) == (None, 20, 16, 3)
    assert outputs.dtype in ("float32", tf.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"flip": 1}, TypeError, "Received: flip=1"),
        ({"zoom": 1.0}, ValueError, "from 0 to 0.999. Received: zoom=1.0"),
        ({"crop": -0.1}, ValueError, "Received: crop=-0.1"),
        ({"erase": float("nan")}, ValueError, "Received: erase=nan"),
        ({"low_resolution": 2}, ValueError, "Received: low_resolution=2"),
        ({"shift": "x"}, TypeError, "Received: shift='x'"),
        ({"seed": 0.5}, TypeError, "Received: seed=0.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        FacePreprocessing(**arguments)
    assert message in str(caught.value)


@pytest.mark.slow
def test_a_model_is_not_compiled_by_xla_where_xla_cannot():
    assert FacePreprocessing(brightness=0.1, low_resolution=0.5).supports_jit
    for name in ("shift", "zoom", "rotation", "crop"):
        layer = FacePreprocessing(**{name: 0.5})
        assert not layer.supports_jit
        with pytest.raises(tf.errors.InvalidArgumentError, match="unsupported operations"):
            tf.function(lambda x, call=layer: call(x, training=True), jit_compile=True)(batch())
