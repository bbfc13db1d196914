import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.functional import geometry
from keras_sphereface.functional.psi import psi

theta = np.linspace(0, np.pi, 1001)


@pytest.mark.parametrize("m", range(1, 7))
def test_psi_is_that_of_training_where_m_is_a_whole_number(m):
    np.testing.assert_allclose(geometry.psi_of_angle(theta, m), psi(np.cos(theta), m), atol=1e-12)


@given(st.floats(1.0, 20.0))
def test_psi_of_any_m_begins_at_1_and_falls_without_a_jump(m):
    values = geometry.psi_of_angle(theta, m)
    assert values[0] == 1.0
    steps = np.diff(values)
    assert steps.max() < 1e-9
    assert -steps.min() <= m * theta[1] * (1 + 1e-9)  # its slope is -m at most


def test_psi_refuses_an_m_below_1():
    for m in (0.9, float("nan")):
        with pytest.raises(ValueError, match="`m` must be a number >= 1"):
            geometry.psi_of_angle(theta, m)


def test_arcs_of_two_classes_end_as_in_the_paper():
    # m = 4 and 60 degrees: 60 / 5 towards the other class, 60 / 3 away from it.
    arcs = np.degrees(geometry.class_arcs(np.radians([60.0, 120.0]), 4))
    np.testing.assert_allclose(arcs, [[40, 72], [108, 140]], atol=1e-8)


@pytest.mark.parametrize("m", [1.5, 2, 3, 4, 6.5])
@pytest.mark.parametrize("degrees", [10, 75, 140, 180])
def test_the_margin_between_the_arcs_is_that_of_the_paper(degrees, m):
    theta_12 = np.radians(degrees)
    spread = geometry.class_spread([1.0, 1.0 + theta_12], m)
    assert spread.smallest_inter == pytest.approx(geometry.angular_margin(theta_12, m), abs=1e-9)


@pytest.mark.parametrize("degrees", [10, 60, 90, 120, 131])
def test_two_classes_need_2_plus_the_root_of_3(degrees):
    assert geometry.smallest_m(np.radians([20, 20 + degrees])) == pytest.approx(
        3.7320508075688772, abs=1e-8
    )


@pytest.mark.parametrize(("degrees", "m"), [(144, 3.5), (150, 3.4), (160, 3.25), (180, 3.0)])
def test_two_classes_further_apart_need_less(degrees, m):
    assert geometry.smallest_m(np.radians([0, degrees])) == pytest.approx(m, abs=1e-8)
    assert geometry.two_class_bound(np.radians(degrees)) == pytest.approx(m)


@pytest.mark.parametrize("classes", [3, 4, 7, 10])
def test_equally_spaced_classes_need_3(classes):
    directions = 0.1 + 2 * np.pi * np.arange(classes) / classes
    assert geometry.smallest_m(directions) == pytest.approx(3.0, abs=1e-8)


@pytest.mark.slow
def test_classes_spaced_anyhow_need_more_than_3_whatever_their_order():
    rng = np.random.default_rng(0)
    for _ in range(5):
        directions = rng.uniform(0, 2 * np.pi, 4)
        needed = geometry.smallest_m(directions)
        assert needed > 3.0
        moved = rng.permutation(directions) + 2 * np.pi * rng.integers(-2, 3, 4) - 0.5
        assert geometry.smallest_m(moved) == pytest.approx(needed, rel=1e-8)


def test_the_widest_class_and_the_nearest_two_count():
    # m = 6: the class at 180 degrees ends 120 / 7 from it on one side and 120 / 5 on the other;
    # 60 / 7 on both sides of the nearest two are not margin.
    spread = np.degrees(geometry.class_spread(np.radians([180.0, 0.0, 60.0]), 6))
    np.testing.assert_allclose(spread, [120 / 7 + 120 / 5, 60 - 2 * 60 / 7], atol=1e-8)


def test_equal_or_lone_directions_are_refused():
    for directions in ([1.0], [], [1.0, 2.0, 1.0], [[0.0, 1.0]]):
        with pytest.raises(ValueError, match="two or more different angles"):
            geometry.class_arcs(directions, 4)


def classes_one_by_one(points, kernel, m):
    """The class of each point by the conditions themselves, angle by angle."""
    classes = []
    for point in points:
        angles = [
            np.arctan2(
                np.linalg.norm(np.outer(w, point) - np.outer(point, w)) / np.sqrt(2), w @ point
            )
            for w in kernel.T
        ]
        leading = []
        for i, angle in enumerate(angles):
            k = int(m * angle / np.pi)
            left = (-1) ** k * np.cos(m * angle) - 2 * k
            if all(left > np.cos(other) for j, other in enumerate(angles) if j != i):
                leading.append(i)
        assert len(leading) <= 1
        classes += leading or [-1]
    return np.array(classes)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("m", [1, 2, 4])
def test_points_belong_to_the_class_whose_condition_holds(dim, m):
    rng = np.random.default_rng(dim)
    points, kernel = rng.normal(size=(200, dim)), rng.normal(size=(dim, 3))
    classes = geometry.leading_class(geometry.angular_leads(points, kernel, m))
    np.testing.assert_array_equal(classes, classes_one_by_one(points, kernel, m))
    assert (classes == -1).any() == (m > 1)
    assert set(classes) >= {0, 1, 2}


@pytest.mark.parametrize("dim", [2, 3])
def test_softmax_chooses_the_highest_logit(dim):
    rng = np.random.default_rng(dim)
    points, kernel, bias = (
        rng.normal(size=(200, dim)),
        rng.normal(size=(dim, 4)),
        rng.normal(size=4),
    )
    leads = geometry.softmax_leads(points, kernel, bias)
    expected = [max(range(4), key=lambda j: kernel[:, j] @ x + bias[j]) for x in points]
    np.testing.assert_array_equal(geometry.leading_class(leads), expected)
    assert ((leads > 0).sum(axis=1) == 1).all()


def test_midway_between_two_classes_and_at_the_origin_none_leads():
    for point in ([0.0, 0.0], [1.0, 1.0]):
        leads = geometry.angular_leads(np.array(point), np.eye(2), 4)
        assert geometry.leading_class(leads) == -1


def test_the_front_of_the_sphere_has_unit_length_and_faces_the_viewer():
    points = geometry.front_hemisphere(21)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1.0)
    assert points[..., 2].min() >= 0
    np.testing.assert_allclose(points[10, 10], [0, 0, 1])
    np.testing.assert_allclose(points[10, 15], [0.5, 0, np.sqrt(0.75)])  # columns go right
    np.testing.assert_allclose(points[16, 10], [0, 0.6, 0.8])  # rows go up
    np.testing.assert_allclose(points[20, 20], [np.sqrt(0.5), np.sqrt(0.5), 0])  # the rim
