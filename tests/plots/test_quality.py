import numpy as np

from keras_sphereface import plots
from tests.helpers.axes import finish, new_axes


def test_the_best_and_random_discard_stand_beside_the_measures():
    curve = np.linspace(0.1, 0.05, 41)
    axes = finish(plots.plot_discard(new_axes(), {"norm": curve, "size": curve / 2}, 0.1))
    norm, size, random, best = axes.lines
    np.testing.assert_allclose(norm.get_ydata(), 100 * curve)
    np.testing.assert_allclose(size.get_ydata(), 50 * curve)
    np.testing.assert_allclose(random.get_ydata(), 10)
    assert best.get_ydata()[0] == 10
    assert best.get_ydata()[10] == 0
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        *("norm", "size", "random", "best possible")
    ]
