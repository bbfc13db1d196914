"""Caffe's solver: decay spares biases, which learn at twice the rate."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config.choices import OPTIMIZER_SLOTS
from keras_sphereface.data import records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.training.build import build_trainer
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.solver import Solver, solver_gradients
from keras_sphereface.utils import compat
from tests.helpers.small_training import one_layer, small_config, trained_in_memory


def test_decay_spares_biases_and_biases_learn_at_twice_the_rate():
    kernel, bias = tf.Variable([3.0], name="kernel"), tf.Variable([3.0], name="fc1/bias")
    gradients = solver_gradients([tf.constant([1.0])] * 2, [kernel, bias], [False, True], 0.1)
    np.testing.assert_allclose([g.numpy()[0] for g in gradients], [1.3, 2.0], rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZER_SLOTS)
def test_the_rule_for_sharded_weights_is_that_of_the_keras_optimizer(name):
    solver = Solver(name, LearningRate(0.1, 28, lr_warmup_steps=3))
    whole, sharded = tf.Variable([1.0, -2.0]), tf.Variable([1.0, -2.0])
    slots = [tf.Variable([0.0, 0.0]) for _ in range(solver.num_slots)]
    optimizer = solver.make_optimizer()
    for step in range(4):
        gradient = tf.constant([0.3, -1.0]) * (step + 1.0)
        optimizer.apply_gradients([(gradient, whole)])
        solver.update_rule(tf.constant(step, tf.int64))(sharded, slots, gradient)
    assert np.abs(whole.numpy() - [1.0, -2.0]).min() > 0.01
    np.testing.assert_allclose(sharded.numpy(), whole.numpy(), rtol=1e-5)


def with_a_bias_of_one(input_shape, embedding_size, seed):
    return one_layer(input_shape, embedding_size, seed, bias_initializer="ones")


@pytest.mark.parametrize(
    ("settings", "are_biases"),
    [
        ({}, [False, False, False]),
        ({"bias_rule": "caffe"}, [False, True, False]),
        ({"head": "softmax"}, [False, False, False, True]),
    ],
)
def test_a_weight_of_a_network_of_the_user_is_no_bias_by_its_name(
    records_folder, settings, are_biases
):
    trainer = trained_in_memory(records_folder, with_a_bias_of_one, steps=0, **settings)
    assert trainer.are_biases == are_biases


@pytest.mark.parametrize(("settings", "count"), [({}, 5), ({"bias_rule": "plain"}, 0)])
def test_biases_of_the_paper_follow_the_rule_of_caffe_unless_told_otherwise(
    records_folder, settings, count
):
    config = small_config(records_folder, "", backbone="sphereface4", width=0.05, **settings)
    trainer = build_trainer(config, records.read_info(records_folder), make_strategy())
    assert sum(trainer.are_biases) == count  # of four convolutions and FC1


@pytest.mark.slow
@pytest.mark.parametrize(("bias_rule", "factor"), [("plain", 0.9), ("caffe", 1.0)])
def test_a_step_decays_a_bias_by_its_rule(records_folder, bias_rule, factor):
    biases = [
        trained_in_memory(
            records_folder,
            with_a_bias_of_one,
            steps=1,
            bias_rule=bias_rule,
            weight_decay=decay,
            learning_rate=0.01,
        ).backbone.get_weights()[-1]
        for decay in (0.0, 10.0)
    ]
    np.testing.assert_allclose(biases[1] - biases[0], factor - 1.0, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_rate_factor_is_a_smaller_learning_rate(optimizer):
    """Steps of two weights, one with the factor 0.25: as of an optimizer with that rate."""
    values, rng = np.arange(1.0, 7.0).reshape(2, 3), np.random.default_rng(0)
    gradients = [tf.constant(rng.normal(size=(2, 3))) for _ in range(5)]

    def trained(rate, factors):
        solver = Solver(optimizer, LearningRate(rate, 100, "constant"))
        weights = [keras.Variable(values) if compat.KERAS_3 else tf.Variable(values) for _ in "ab"]
        one = solver.make_optimizer(factors)
        one.build(weights)
        step = tf.function(lambda g: one.apply_gradients([(g, weights[0]), (g, weights[1])]))
        for gradient in gradients:
            step(gradient)
        return [np.asarray(weight) for weight in weights]

    whole, share = trained(0.1, (1.0, 0.25))
    np.testing.assert_array_equal(whole, trained(0.1, ())[0])
    tolerance = 1e-6 if optimizer == "sgd" else 1e-5
    np.testing.assert_allclose(share, trained(0.025, ())[0], rtol=0, atol=tolerance)
    assert np.abs(share - whole).max() > 0.01
