import numpy as np
from matplotlib.figure import Figure

from keras_sphereface import plots


def test_runs_are_drawn_with_their_center():
    axes = Figure().subplots()
    values = [np.array([1.0, 2.0, 9.0]), np.array([np.nan]), np.array([5.0])]
    assert plots.plot_runs(axes, ["a", "b", "c"], values, "x", "a", np.median) is axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    xs = [line.get_xdata() for line in axes.lines]
    np.testing.assert_array_equal(xs[0], [1.0, 2.0, 9.0])
    np.testing.assert_array_equal(xs[1], [2.0, 2.0])
    assert len(axes.lines) == 5  # two of each that has values, and the baseline
    assert axes.yaxis_inverted()
