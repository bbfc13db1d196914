import io

import numpy as np
import pandas as pd
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
    for own in bars:
        for path in own.get_paths():
            distances = np.linalg.norm(path.vertices[:4], axis=1)
            lengths.append(distances.max() - distances.min())
            assert (np.abs(path.vertices) <= axes.get_xlim()[1]).all()
    np.testing.assert_allclose(lengths, [0.5, 0.25, 0.25])


@pytest.mark.parametrize("view", [(-60.0, 25.0), (100.0, -50.0)])
def test_the_near_side_of_the_sphere_is_in_front_and_the_pole_upwards(view):
    towards = plots.towards_eye(*view)
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


def test_a_curve_leaves_out_what_has_no_place_and_marks_lone_points():
    steps, values = np.arange(1, 8), np.array([1.0, 2.0, np.nan, 3.0, np.inf, 0.0, 5.0])
    axes = plots.plot_log(Figure().subplots(), steps, values, "loss", "nats", log=True)
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_ydata()[[0, 1, 3, 6]], [1.0, 2.0, 3.0, 5.0])
    assert np.isnan(line.get_ydata()[[2, 4, 5]]).all()
    np.testing.assert_array_equal(np.flatnonzero(line.get_markevery()), [3, 6])
    assert axes.get_yscale() == "log"
    assert (axes.get_title(), axes.get_ylabel()) == ("loss", "nats")


def test_verification_is_drawn_over_the_training_accuracy_with_its_spread():
    table = pd.DataFrame({"step": [4, 8], "accuracy_mean": [0.8, 0.9], "accuracy_std": [0.1, 0.0]})
    steps, accuracy = np.arange(1, 9), np.linspace(0.1, 0.8, 8)
    axes = plots.plot_accuracies(Figure().subplots(), steps, accuracy, table)
    assert axes.lines[0].get_ydata()[-1] == pytest.approx(80.0)
    (bars,) = axes.containers
    np.testing.assert_allclose(bars.lines[0].get_xydata(), [[4, 80], [8, 90]])
    np.testing.assert_allclose(bars.lines[2][0].get_segments()[0], [[4, 70], [4, 90]])
    assert plots.plot_accuracies(Figure().subplots(), steps, accuracy).get_legend() is None


@pytest.mark.parametrize(
    ("lambdas", "scale", "shaded_to"),
    [
        ([900.0, 90.0, 9.0], "log", None),
        ([np.inf, np.inf, 9.0], "log", 2),
        ([np.inf] * 3, "linear", 3),
        ([0.0] * 3, "linear", None),
    ],
)
def test_lambda_may_be_infinite_or_nought(lambdas, scale, shaded_to):
    axes = plots.plot_lambda(Figure().subplots(), np.arange(1, 4), np.array(lambdas))
    assert axes.get_yscale() == scale
    ends = [patch.get_extents().transformed(axes.transData.inverted()).x1 for patch in axes.patches]
    assert ends == ([] if shaded_to is None else [pytest.approx(shaded_to)])


def test_a_figure_becomes_pixels_and_keeps_its_resolution():
    figure = Figure(figsize=(3, 2), dpi=70)
    figure.patch.set_facecolor((1.0, 0.0, 0.0))
    pixels = plots.figure_rgb(figure, dpi=50)
    assert (pixels.shape, pixels.dtype) == ((100, 150, 3), np.uint8)
    assert (pixels == (255, 0, 0)).all()
    assert figure.dpi == 70
