"""The learning rate of every step: the steps of the paper, a cosine, a constant, the warm-up."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config.choices import SCHEDULES
from keras_sphereface.training.schedules import LearningRate


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (0, 0.1),
        (15_999, 0.1),
        (16_000, 0.01),
        (23_999, 0.01),
        (24_000, 0.001),
        (27_999, 0.001),
    ],
)
def test_the_steps_are_those_of_the_reference_solver(iteration, rate):
    # base_lr 0.1, gamma 0.1, stepvalue 16000 and 24000; Caffe counts iterations from 0.
    assert float(LearningRate(0.1, 28_000)(iteration)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("total_steps", [1, 2, 7, 28, 100])
def test_the_steps_keep_their_share_of_a_run_of_any_length(total_steps):
    steps = np.arange(total_steps)
    first, second = (steps >= round(total_steps * n / 28) for n in (16, 24))
    values = rates(LearningRate(1.0, total_steps), steps)
    np.testing.assert_allclose(values, 0.1 ** (first + 1.0 * second), rtol=1e-6)


def test_the_cosine_falls_from_the_rate_to_zero_by_its_formula():
    steps = np.arange(41)
    values = rates(LearningRate(0.2, 40, "cosine"), steps)
    np.testing.assert_allclose(values, 0.1 * (1 + np.cos(np.pi * steps / 40)), atol=1e-7)


def test_a_constant_rate_stays():
    values = rates(LearningRate(0.3, 10, "constant"), (0, 5, 9, 10, 1_000))
    np.testing.assert_allclose(values, 0.3, rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_warm_up_multiplies_the_schedule(schedule):
    steps = np.arange(28)
    plain = rates(LearningRate(0.1, 28, schedule), steps)
    warm = rates(LearningRate(0.1, 28, schedule, lr_warmup_steps=20), steps)
    np.testing.assert_allclose(warm, plain * np.minimum(1, (steps + 1) / 20), rtol=1e-6)
    assert warm[0] == pytest.approx(0.1 / 20)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_compiled_step_sees_the_same_rate(schedule):
    """The optimizer asks with its int64 counter, inside a function of TensorFlow."""
    rate = LearningRate(0.1, 28, schedule, lr_warmup_steps=3)
    compiled = tf.function(lambda step: rate(step))
    for step in (0, 2, 15, 16, 24):
        value = compiled(tf.constant(step, tf.int64))
        assert value.dtype == tf.float32
        assert float(value) == pytest.approx(float(rate(step)), rel=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_kept_as_a_keras_object(schedule):
    rate = LearningRate(0.25, 56, schedule, lr_warmup_steps=7)
    kept = json.dumps(keras.saving.serialize_keras_object(rate))
    assert "keras_sphereface>LearningRate" in kept
    again = keras.saving.deserialize_keras_object(json.loads(kept))
    assert isinstance(again, LearningRate)
    assert again.get_config() == rate.get_config()
    steps = range(0, 56, 5)
    np.testing.assert_array_equal(rates(again, steps), rates(rate, steps))


def test_a_schedule_saved_with_the_earlier_name_of_its_warm_up_loads():
    rate = LearningRate(0.25, 56, "cosine", lr_warmup_steps=7)
    kept = keras.saving.serialize_keras_object(rate)
    kept["config"]["warmup_steps"] = kept["config"].pop("lr_warmup_steps")
    again = keras.saving.deserialize_keras_object(kept)
    assert again.get_config() == rate.get_config()


def test_an_optimizer_keeps_its_schedule():
    optimizer = keras.optimizers.SGD(LearningRate(0.25, 8, "cosine", lr_warmup_steps=2))
    again = keras.optimizers.SGD.from_config(optimizer.get_config())
    layer, kernels = keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False), [0.0]
    layer.build((None, 1))
    again.build([layer.kernel])
    for _ in range(4):
        again.apply_gradients([(tf.ones((1, 1)), layer.kernel)])
        kernels.append(float(layer.get_weights()[0][0, 0]))
    expected = 0.125 * (1 + np.cos(np.pi * np.arange(4) / 8)) * [0.5, 1, 1, 1]
    np.testing.assert_allclose(-np.diff(kernels), expected, rtol=1e-5)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(
        ValueError, match=r"one of steps, cosine, constant\. Received: schedule='linear'"
    ):
        LearningRate(0.1, 10, "linear")
