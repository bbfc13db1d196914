import pytest

from keras_sphereface import plots
from keras_sphereface.metrics.bootstrap import Interval
from tests.helpers.axes import finish, new_axes


def test_each_group_has_its_rate_and_interval():
    rates = {"a": (0.02, Interval(0.01, 0.05)), "b": (0.01, None), "c": (None, None)}
    axes = finish(plots.plot_group_rates(new_axes(), rates, 0.015, "FMR"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    interval, first, second, overall = axes.lines
    assert list(interval.get_xdata()) == pytest.approx([1, 5])
    assert (list(first.get_xdata()), list(second.get_xdata())) == ([2.0], [1.0])
    assert overall.get_xdata()[0] == pytest.approx(1.5)
    assert [text.get_text() for text in axes.texts] == ["no comparison"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first group is on top


def test_no_group_is_refused():
    with pytest.raises(ValueError, match="at least one group"):
        plots.plot_group_rates(new_axes(), {}, 0.1)
