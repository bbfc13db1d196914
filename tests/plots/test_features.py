import io

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

from keras_sphereface import plots


@pytest.mark.parametrize("draw", [plots.plot_circle, plots.plot_unit_circle, plots.plot_sphere])
def test_embeddings_and_class_weights_are_drawn(draw):
    rng = np.random.default_rng(0)
    dim = 3 if draw is plots.plot_sphere else 2
    labels = np.arange(60) % 10
    figure = Figure()
    axes = figure.subplots()
    data = rng.normal(size=(60, dim)), labels, rng.normal(size=(dim, 10))
    assert draw(axes, *data, title="m = 1") is axes
    assert axes.get_title() == "m = 1"
    points = [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]
    assert sum(len(drawn.get_offsets()) for drawn in points) == 60
    figure.savefig(io.BytesIO(), format="png")


def test_bars_around_the_circle_are_shares_and_fit():
    # All of class 0 in one direction; class 1 half at 90.5 and half at 180.5 degrees.
    degrees = np.radians([1.0, 1.0, 1.0, 1.0, 90.5, 180.5])
    embeddings = 5 * np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    axes = Figure().subplots()
    plots.plot_unit_circle(axes, embeddings, np.array([0, 0, 0, 0, 1, 1]), np.eye(2))
    bars = [drawn for drawn in axes.collections if isinstance(drawn, PolyCollection)]
    lengths = []
    for of_class in bars:
        for path in of_class.get_paths():
            distances = np.linalg.norm(path.vertices[:4], axis=1)
            lengths.append(distances.max() - distances.min())
            assert (np.abs(path.vertices) <= axes.get_xlim()[1]).all()
    np.testing.assert_allclose(lengths, [0.5, 0.25, 0.25])


@pytest.mark.parametrize("view", [(-60.0, 25.0), (100.0, -50.0)])
def test_the_near_side_of_the_sphere_is_in_front_and_the_pole_upwards(view):
    towards = plots.view_direction(*view)
    axes = Figure().subplots()
    embeddings = 3 * np.stack([towards, -towards, [0, 0, 1]])
    plots.plot_sphere(axes, embeddings, np.array([0, 1, 2]), np.eye(3), view=view)
    drawn = {}
    for points in axes.collections:
        for place in points.get_offsets():
            filled = len(points.get_facecolors()) > 0
            drawn.setdefault(points.get_zorder(), []).append((*place.tolist(), filled))
    far, near = (drawn[order] for order in sorted(drawn))
    assert near[0] == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12), True)
    assert far[0] == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12), False)
    (pole,) = [near, far][view[1] < 0][1:]
    assert pole[0] == pytest.approx(0, abs=1e-12)
    assert pole[1] == pytest.approx(np.cos(np.radians(view[1])))
