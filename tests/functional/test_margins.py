import math

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.functional import margins

theta = np.linspace(0, np.pi, 1001)


def test_the_target_functions_match_their_definitions():
    cosines = tf.constant(np.cos(theta))
    np.testing.assert_allclose(margins.safe_angle(cosines), theta, atol=3e-8)
    np.testing.assert_allclose(margins.subtracted_cosine(cosines, 0.35), np.cos(theta) - 0.35)
    before = theta < np.pi - 0.5
    rotated = margins.added_angle(cosines, 0.5).numpy()
    np.testing.assert_allclose(rotated[before], np.cos(theta[before] + 0.5), atol=1e-7)
    multiplied = np.where(1.5 * theta < np.pi, np.cos(1.5 * theta), -1.0)
    np.testing.assert_allclose(margins.multiplied_angle(cosines, 1.5), multiplied, atol=1e-7)
    np.testing.assert_allclose(margins.divided_angle(cosines, 1.5), np.cos(theta / 1.5), atol=1e-7)
    stretched = 2 * ((np.cos(theta) + 1) / 2) ** 3 - 1
    np.testing.assert_allclose(margins.stretched_cosine(cosines), stretched)


FUNCTIONS = {
    "subtracted_cosine": lambda c: margins.subtracted_cosine(c, 0.35),
    "added_angle": lambda c: margins.added_angle(c, 0.5),
    "multiplied_angle": lambda c: margins.multiplied_angle(c, 1.7),
    "divided_angle": lambda c: margins.divided_angle(c, 1.7),
    "stretched_cosine": margins.stretched_cosine,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_target_rises_with_theta_and_every_slope_is_finite(name, dtype):
    cosines = tf.constant(np.cos(theta), dtype)
    with tf.GradientTape() as tape:
        tape.watch(cosines)
        values = FUNCTIONS[name](cosines)
    assert values.dtype == cosines.dtype
    assert np.all(np.diff(values) <= 1e-6)
    assert np.isfinite(tape.gradient(values, cosines)).all()


@pytest.mark.parametrize("num_classes", [2, 10, 10_572, 1_000_000])
@pytest.mark.parametrize("alpha", [0.3, 0.7, 0.999999])
def test_the_balanced_bias_is_where_the_loss_has_no_slope(num_classes, alpha):
    scale, m = 40.0, 0.4
    bias = margins.balanced_bias(num_classes, scale, m, alpha)

    def logistic(x):
        return 1 / (1 + math.exp(-x))

    target = alpha * logistic(-(scale * (-0.75 - m) + bias))
    negatives = (1 - alpha) * (num_classes - 1) * logistic(scale * (-0.75 + m) + bias)
    assert target == pytest.approx(negatives, rel=1e-9)
