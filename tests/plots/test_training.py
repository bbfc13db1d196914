import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from keras_sphereface import plots


def test_a_curve_omits_points_off_the_scale_and_marks_lone_points():
    steps, values = np.arange(1, 8), np.array([1.0, 2.0, np.nan, 3.0, np.inf, 0.0, 5.0])
    axes = plots.plot_training_curve(Figure().subplots(), steps, values, "loss", "nats", log=True)
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
