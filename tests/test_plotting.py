import numpy as np
import pytest
from matplotlib.figure import Figure

from keras_sphereface import plotting, verification


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    is_same = np.arange(400) % 2 == 0
    return np.clip(rng.normal(0.4 * is_same, 0.2), -1, 1), is_same


def test_the_roc_is_drawn_through_its_points(scores):
    curve = verification.roc(*scores)
    axes = plotting.plot_roc(Figure().subplots(), curve, label="m = 4")
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), curve.tar)
    assert axes.get_xscale() == "log"
    assert axes.get_legend() is not None


def test_the_histogram_counts_every_pair(scores):
    axes = plotting.plot_similarity_histogram(Figure().subplots(), *scores, threshold=0.2)
    assert sum(patch.get_height() for patch in axes.patches) == 400


@pytest.mark.parametrize("dim", [2, 3])
def test_embeddings_and_class_weights_are_drawn(dim):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 10
    embeddings, kernel = rng.normal(size=(60, dim)), rng.normal(size=(dim, 10))
    figure = Figure()
    if dim == 2:
        for draw in (plotting.plot_circle, plotting.plot_unit_circle):
            axes = figure.subplots()
            assert draw(axes, embeddings, labels, kernel) is axes
            assert sum(len(points.get_offsets()) for points in axes.collections) == 60
    else:
        axes = figure.add_subplot(projection="3d")
        assert plotting.plot_sphere(axes, embeddings, labels, kernel, title="m = 1") is axes
        assert axes.get_title() == "m = 1"
    figure.savefig("/dev/null", format="png")
