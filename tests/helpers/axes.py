"""Scores, curves and axes for tests of figures."""

import numpy as np
from matplotlib.figure import Figure

from keras_sphereface.metrics import roc_curve


def drawn_scores(num_pairs, gap=0.4, seed=0):
    rng = np.random.default_rng(seed)
    is_same = np.arange(num_pairs) % 2 == 0
    return np.round(np.clip(rng.normal(gap * is_same, 0.2), -1, 1), 2), is_same


def drawn_roc(num_pairs, gap=0.4, seed=0):
    return roc_curve(*drawn_scores(num_pairs, gap, seed))


def new_axes():
    return Figure(figsize=(6.4, 4.8), layout="constrained").subplots()


def finish(axes):
    """Lay the figure out as for a file."""
    axes.figure.savefig("/dev/null", format="png")
    return axes


def visible_ticks(axis):
    low, high = axis.get_view_interval()
    ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
    return {label.get_text(): at for at, label in ticks if low <= at <= high}


def value_of_steps(line, x):
    """The value of a line of steps at x: that of the last point up to x."""
    assert line.get_drawstyle() == "steps-post"
    return [b for a, b in zip(*line.get_data(), strict=True) if a <= x][-1]
