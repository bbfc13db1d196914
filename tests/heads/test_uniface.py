"""UniFace: one threshold for all."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface import UniFace

C, D = 8, 4


def test_the_bias_is_learned_and_balances_both_sides():
    """At a threshold above all cosines it must fall, at one below all it must rise."""
    head = UniFace(C, scale=10.0)
    head.build((None, D))
    assert float(head.bias) == pytest.approx(np.log(80.0), rel=1e-6)
    x = np.random.default_rng(0).normal(size=(16, D)).astype("float32")
    slopes = []
    for bias in (15.0, -15.0):
        head.bias.assign(bias)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(head.compute_losses(x, np.arange(16) % C, step=1).losses)
        slopes.append(float(tape.gradient(loss, head.trainable_variables[-1])))
    assert slopes[0] > 0 > slopes[1]


def test_the_weight_of_the_negatives_leaves_the_target_alone():
    x, labels = np.random.default_rng(0).normal(size=(16, D)), np.arange(16) % C
    kernel = np.random.default_rng(1).normal(size=(D, C))
    losses = []
    for weight in (1.0, 0.5, 0.25):
        head = UniFace(C, negative_weight=weight, dtype="float64")
        head.build((None, D))
        head.kernel.assign(kernel)
        losses.append(head.compute_losses(x, labels).losses.numpy())
    np.testing.assert_allclose(losses[0] - losses[1], 2 * (losses[1] - losses[2]), rtol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": "auto"}, "`scale` must be a number in UniFace"),
        ({"negative_weight": 0.0}, "`negative_weight` must be"),
        ({"m": -0.1}, "`m` must be"),
    ],
)
def test_wrong_settings_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        UniFace(3, **wrong)
