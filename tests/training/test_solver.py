"""Caffe's solver: decay spares biases, which learn at twice the rate."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config.choices import OPTIMIZER_SLOTS
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.solver import Solver, solver_gradients


def test_decay_spares_biases_and_biases_learn_at_twice_the_rate():
    kernel, bias = tf.Variable([3.0], name="kernel"), tf.Variable([3.0], name="fc1/bias")
    gradients = solver_gradients([tf.constant([1.0])] * 2, [kernel, bias], 0.1)
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
