import numpy as np
import pytest

from keras_sphereface import plots
from tests.helpers.axes import drawn_roc, finish, new_axes


def draw_all_kinds(labels):
    """Each figure of several curves, with the same labels."""
    rocs = {label: drawn_roc(300, 0.2 * i, i) for i, label in enumerate(labels, 1)}
    far = np.linspace(0, 1, 101)
    yield plots.plot_roc(new_axes(), rocs)
    yield plots.plot_det(new_axes(), rocs)
    yield plots.plot_cmc(new_axes(), {label: far for label in labels})
    yield plots.plot_dir(new_axes(), {label: (far, far) for label in labels})
    numbers = 10 ** np.arange(1, 7)
    rates = {label: (numbers, 1 - i * numbers / 1e7) for i, label in enumerate(labels, 1)}
    yield plots.plot_distractors(new_axes(), rates)


@pytest.mark.slow
def test_several_curves_differ_and_are_named_below_the_axes():
    labels = ["SphereFace-20, m = 4", "SphereFace-20, m = 1 (softmax)", "one more network"]
    for axes in draw_all_kinds(labels):
        finish(axes)
        legend = axes.get_legend()
        texts = [text.get_text() for text in legend.get_texts()]
        # ROC, DET and CMC also give the area or the equal error rate of each.
        assert [text.rpartition(": ")[0] or text for text in texts] == labels
        lines = [line for line in axes.lines if line.get_label() in texts]
        assert len({line.get_color() for line in lines}) == 3
        assert len({line.get_linestyle() for line in lines}) == 3
        box, figure = legend.get_window_extent(), axes.figure.bbox
        assert box.y1 <= axes.xaxis.label.get_window_extent().y0
        assert box.y0 >= 0
        assert box.x0 >= 0
        assert box.x1 <= figure.x1


def test_one_curve_needs_no_legend():
    assert [axes.get_legend() for axes in draw_all_kinds(["m = 4"])] == [None] * 5


@pytest.mark.parametrize(
    "draw", ["plot_roc", "plot_det", "plot_cmc", "plot_dir", "plot_distractors"]
)
def test_no_curve_at_all_is_refused(draw):
    with pytest.raises(ValueError, match=r"at least one curve. Received: curves=\{\}"):
        getattr(plots, draw)(new_axes(), {})
