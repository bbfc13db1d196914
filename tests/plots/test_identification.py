import itertools

import numpy as np
import pytest

from keras_sphereface import plots
from tests.helpers.axes import (
    finish,
    new_axes,
    value_of_steps,
    visible_ticks,
)

MEGAFACE = 10 ** np.arange(1, 7), np.array([0.999, 0.992, 0.962, 0.91, 0.83, 0.729])


@pytest.mark.parametrize(("most", "scale"), [(1, "linear"), (50, "linear"), (51, "log")])
def test_ranks_are_whole_numbers_from_1(most, scale):
    rates = 1 - 0.3 / np.arange(1, most + 1)
    axes = finish(plots.plot_cmc(new_axes(), {"": rates}))
    x, y = axes.lines[0].get_data()
    np.testing.assert_array_equal(x, np.arange(most) + 1)
    np.testing.assert_allclose(y, 100 * rates)
    assert axes.get_xscale() == scale
    ticks = visible_ticks(axes.xaxis)
    assert ticks
    assert all(int(text) == pytest.approx(at) for text, at in ticks.items())
    assert axes.get_ylim()[0] < 70 < 100 < axes.get_ylim()[1]
    assert axes.get_title() == f"CMC, AUC {rates.mean():.4f}"


def test_curves_of_several_lengths_share_the_axes():
    axes = plots.plot_cmc(new_axes(), {"a": np.full(20, 0.99), "b": np.full(5, 0.35)})
    assert axes.get_xlim()[0] < 1
    assert axes.get_xlim()[1] > 20
    assert axes.get_ylim()[0] < 35
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["a: AUC 0.9900", "b: AUC 0.3500"]


def test_the_gallery_of_a_cmc_is_named_with_its_size():
    axes = plots.plot_cmc(new_axes(), {"": np.ones(5)}, gallery_size=10_575)
    assert axes.get_title() == "CMC, 10,575 identities, AUC 1.0000"


def test_open_set_rates_are_shown_over_false_alarms():
    far, rate = np.array([0, 0.01, 0.01, 0.1, 1]), np.array([0.3, 0.4, 0.5, 0.8, 0.9])
    axes = finish(plots.plot_dir(new_axes(), {"": (far, rate)}))
    shown = [value_of_steps(axes.lines[0], at) for at in (0.01, 0.05, 0.1, 0.5, 1)]
    assert shown == [0.5, 0.5, 0.8, 0.8, 0.9]
    assert axes.get_xlim() == (0.01, 1)
    assert visible_ticks(axes.yaxis)["80"] == pytest.approx(0.8)


def test_no_false_alarms_leave_nothing_to_draw():
    axes = finish(plots.plot_dir(new_axes(), {"": (np.zeros(3), np.ones(3))}))
    assert "no curve to draw" in axes.texts[0].get_text()


def test_rates_are_shown_at_each_number_of_distractors():
    axes = finish(plots.plot_distractors(new_axes(), {"": MEGAFACE}))
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), MEGAFACE[0])
    np.testing.assert_allclose(line.get_ydata(), [99.9, 99.2, 96.2, 91, 83, 72.9])
    assert line.get_marker() == "o"
    assert axes.get_xscale() == "log"
    assert list(visible_ticks(axes.xaxis)) == "10 100 1,000 10,000 100,000 1,000,000".split()
    assert axes.get_legend() is None
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    shown = [box for box in boxes if box.x0 >= 0]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(shown))


@pytest.mark.parametrize(
    ("numbers", "ticks"),
    [
        ([7], {"2", "5", "10"}),
        ([10, 30], {"10", "20"}),
        ([10, 100, 1000, 5506], {"10", "100", "1,000"}),
    ],
)
def test_few_numbers_of_distractors_have_ticks_that_are_numbers(numbers, ticks):
    axes = plots.plot_distractors(new_axes(), {"": (numbers, np.full(len(numbers), 0.5))})
    shown = visible_ticks(finish(axes).xaxis)
    assert ticks <= set(shown)
    assert all(float(text.replace(",", "")) == pytest.approx(at) for text, at in shown.items())


def test_the_lowest_rate_among_distractors_leaves_its_tens_below():
    low = MEGAFACE[0][:3], np.array([0.87, 0.6, 0.35])
    axes = plots.plot_distractors(new_axes(), {"high": MEGAFACE, "low": low})
    assert 25 < axes.get_ylim()[0] < 30
    assert 100 < axes.get_ylim()[1] < 105
    perfect = plots.plot_distractors(new_axes(), {"": (MEGAFACE[0], np.ones(6))})
    assert 89 < perfect.get_ylim()[0] < 90
    assert 100 < perfect.get_ylim()[1] < 101
