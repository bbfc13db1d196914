import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_sphereface.functional import geometry
from keras_sphereface.plots import margins


def boundary_points(axes):
    """The points of all boundaries that were drawn: contours without a filling."""
    lines = [c for c in axes.collections if hasattr(c, "levels") and len(c.levels) == 1]
    return np.concatenate([path.vertices for c in lines for path in c.get_paths()])


def test_curves_are_over_degrees_and_what_goes_with_them_is_dashed_in_their_color():
    theta = np.linspace(0, np.pi, 5)
    axes = Figure().subplots()
    curves = {"a": np.cos(theta), "b": np.sin(theta)}
    assert margins.plot_angle_curves(axes, theta, curves, {"b": theta}) is axes
    first, second, dashed = axes.lines
    np.testing.assert_allclose(first.get_xdata(), [0, 45, 90, 135, 180])
    assert (first.get_label(), second.get_label()) == ("a", "b")
    assert dashed.get_linestyle() == "--"
    assert dashed.get_color() == second.get_color() != first.get_color()
    np.testing.assert_allclose(dashed.get_ydata(), theta)


def test_boundaries_in_the_plane_run_where_no_class_leads_any_more():
    directions = np.radians([120.0, 60.0])
    kernel = geometry.on_circle(directions).T
    x, y = np.linspace(-1, 1, 101), np.linspace(-0.5, 1.5, 81)
    leads = geometry.angular_leads(np.stack(np.meshgrid(x, y), axis=-1), kernel, 4)
    axes = Figure().subplots()
    assert margins.plot_plane_regions(axes, x, y, leads, kernel, (1.0, 2.0)) is axes
    points = boundary_points(axes)
    points = points[np.linalg.norm(points, axis=1) > 0.3]  # the grid is coarse near the corner
    angles = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    distances = np.abs(angles[:, None] - [40, 72, 108, 140])
    assert distances.min(axis=1).max() < 0.5
    assert distances.min(axis=0).max() < 0.5
    texts = {text.get_text() for text in axes.texts}
    assert {"$w_1$", "$w_2$", r"$\theta_{12}$", "margin"} <= texts


@pytest.mark.parametrize("m", [1, 3])
def test_boundaries_on_the_sphere_are_the_same_for_all_directions_of_view(m):
    points = geometry.front_hemisphere(201)
    kernel = np.array([[0.5, -0.3], [0.1, 0.4], [0.8, 0.7]])
    axes = Figure().subplots()
    leads = geometry.angular_leads(points, kernel, m)
    assert margins.plot_sphere_regions(axes, points, leads, kernel) is axes
    drawn = boundary_points(axes)
    radius = np.linalg.norm(drawn, axis=1)
    drawn = drawn[radius < 0.95]
    on_sphere = np.column_stack([drawn, np.sqrt(1 - (drawn**2).sum(axis=1))])
    nearest = np.abs(geometry.angular_leads(on_sphere, kernel, m)).min(axis=1)
    assert len(drawn) > 50
    assert nearest.max() < 0.01


def test_a_class_that_leads_nowhere_is_left_out():
    x = np.linspace(-1, 1, 11)
    leads = np.stack([np.full((11, 11), -1.0), np.full((11, 11), -2.0)], axis=-1)
    axes = margins.plot_plane_regions(Figure().subplots(), x, x, leads, np.eye(2))
    assert not [c for c in axes.collections if hasattr(c, "levels")]


def test_the_bounds_of_m_are_drawn_with_their_names():
    axes = Figure().subplots()
    m = np.array([1.0, 3.0, 5.0])
    assert margins.plot_separation(axes, m, np.radians([90, 30, 10]), np.radians([0, 30, 40]), 3.0)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [90, 30, 10])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [0, 30, 40])
    assert axes.texts[0].get_text() == "m = 3.000"
    axes = Figure().subplots()
    margins.plot_smallest_m(axes, np.radians([90, 180]), {"two": np.array([3.7, 3.0])}, {"3": 3.0})
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[90, 3.7], [180, 3.0]])
    assert axes.texts[0].get_text() == "3"
