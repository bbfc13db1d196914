import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.functional import annealing as annealing_module
from keras_sphereface.functional.annealing import Annealing
from keras_sphereface.functional.norms import inverse_norms, l2_norm
from keras_sphereface.functional.psi import psi
from tests.helpers.head_reference import psi_by_definition

MARGINS = [1, 2, 3, 4, 5, 6, 9]


def slope(array, place, function):
    """The slope of the sum of `function(array)` by one of its numbers, as a difference."""
    up, down = array.copy(), array.copy()
    up[place] += 1e-6
    down[place] -= 1e-6
    return (function(up).sum() - function(down).sum()) / 2e-6


def psi_of_the_original_layer(c, m):
    """The closed forms of the Caffe layer of Liu et al. for m = 2, 3 and 4."""
    s0 = np.sign(c)
    if m == 2:
        return 2 * s0 * c**2 - 1
    if m == 3:
        s1 = np.sign(np.abs(c) - 0.5)
        return s1 * (4 * c**3 - 3 * c) + s0 * (1 + s1) - 2
    s3 = s0 * np.sign(2 * c**2 - 1)
    return s3 * (8 * c**4 - 8 * c**2 + 1) + 2 * s0 + s3 - 3


@pytest.mark.parametrize("m", MARGINS)
def test_psi_matches_the_definition(m):
    theta = np.linspace(0, np.pi, 2003)
    np.testing.assert_allclose(psi(np.cos(theta), m), psi_by_definition(theta, m), atol=1e-11)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_psi_matches_the_closed_forms_of_the_original_layer(m):
    # Off the breakpoints, where the sign of the closed forms is 0.
    cosines = np.linspace(-1, 1, 1999) + 1e-7
    np.testing.assert_allclose(psi(cosines, m), psi_of_the_original_layer(cosines, m), atol=1e-13)


@pytest.mark.parametrize("m", MARGINS)
def test_psi_runs_from_1_to_1_minus_2m(m):
    np.testing.assert_allclose(psi([1.0, -1.0], m), [1.0, 1.0 - 2 * m], atol=1e-6)


@given(st.integers(1, 8), st.floats(0, np.pi), st.floats(0, np.pi))
def test_psi_never_rises_with_theta(m, a, b):
    far, near = np.sort(np.cos([a, b]))
    assert psi(near, m) >= psi(far, m) - 1e-9


@pytest.mark.parametrize("m", MARGINS)
def test_psi_has_a_finite_slope_at_poles_and_breakpoints(m):
    points = np.cos(np.arange(m + 1) * np.pi / m).astype(np.float32)
    cosines = tf.constant(np.append(points, 0.0))
    with tf.GradientTape() as tape:
        tape.watch(cosines)
        values = psi(cosines, m)
    slopes = tape.gradient(values, cosines).numpy()
    assert np.isfinite(slopes).all()
    # T_m has slope m^2 at both poles, and psi the same: it falls there too.
    np.testing.assert_allclose(slopes[[0, m]], m**2, rtol=1e-5)


def test_psi_keeps_dtype_and_shape():
    for dtype in (tf.float32, tf.float64):
        values = psi(tf.zeros((2, 3), dtype), 4)
        assert values.dtype == dtype
        assert values.shape == (2, 3)


@pytest.mark.parametrize(("m", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError)])
def test_psi_refuses_a_bad_margin(m, error):
    with pytest.raises(error, match=rf"int >= 1. Received: m={m}"):
        psi([0.5], m)


def test_l2_norm_of_zero_has_a_zero_gradient():
    x = tf.zeros((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        norms = l2_norm(x)
    np.testing.assert_allclose(norms, [[1e-12], [1e-12]], rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(norms, x), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1000.0), (1, 892.857), (501, 16.3613), (1658, 5.00100), (1659, 5.0)]
)
def test_annealing_follows_the_reference_implementation(step, expected):
    np.testing.assert_allclose(annealing_module.annealing_lambda(step), expected, rtol=1e-5)


def test_annealing_with_base_0_is_the_pure_margin():
    annealing = Annealing(base=0.0, lambda_min=0.0)
    assert float(annealing_module.annealing_lambda(7, annealing)) == 0.0
    cosines = tf.constant([0.3, -0.8])
    np.testing.assert_allclose(annealing_module.blend(cosines, 4, 0.0), psi(cosines, 4), rtol=1e-6)


def test_the_annealing_counts_from_the_end_of_the_warmup():
    annealing = Annealing(margin_warmup_steps=10)
    assert np.isposinf(annealing_module.annealing_lambda(10, annealing))
    np.testing.assert_allclose(annealing_module.annealing_lambda(11, annealing), 892.857, rtol=1e-5)
    np.testing.assert_allclose(
        annealing_module.annealing_lambda(511, annealing), 16.3613, rtol=1e-5
    )


@pytest.mark.parametrize("annealing_lambda", [1e8, np.inf])
def test_a_large_lambda_leaves_the_cosine_as_it_is(annealing_lambda):
    cosines = tf.constant([0.75, -0.2])
    with tf.GradientTape() as tape:
        tape.watch(cosines)
        blended = annealing_module.blend(cosines, 4, annealing_lambda)
    np.testing.assert_allclose(blended, cosines, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(blended, cosines), [1.0, 1.0], rtol=1e-6)


def test_inverse_norms_have_the_right_gradient_and_none_at_zero():
    kernel = tf.constant(np.array([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]]))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        inverse = inverse_norms(kernel)
    np.testing.assert_allclose(inverse, [0.2, 1e12, 1.0])
    # d|w|^-1 / dw = -w / |w|^3
    expected = [[-3 / 125, 0.0, -1.0], [-4 / 125, 0.0, 0.0]]
    np.testing.assert_allclose(tape.gradient(inverse, kernel), expected)


def test_psi_and_its_slope_know_their_shape_after_calls_with_other_ranks():
    for shape in ((), (2,), (2, 3), (2, 3, 4), (1, 2, 3, 4)):
        assert psi(tf.zeros(shape), 4).shape == shape

    @tf.function(input_signature=[tf.TensorSpec((None, 5), tf.float32)])
    def traced(cosines):
        with tf.GradientTape() as tape:
            tape.watch(cosines)
            result = psi(cosines, 4)
        slope = tape.gradient(result, cosines)
        assert result.shape.as_list() == slope.shape.as_list() == [None, 5]
        return slope

    assert traced(tf.zeros((3, 5))).shape == (3, 5)
