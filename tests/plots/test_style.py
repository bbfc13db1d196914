import numpy as np
from matplotlib.figure import Figure

from keras_sphereface import plots


def test_a_figure_becomes_pixels_and_keeps_its_resolution():
    figure = Figure(figsize=(3, 2), dpi=70)
    figure.patch.set_facecolor((1.0, 0.0, 0.0))
    pixels = plots.figure_rgb(figure, dpi=50)
    assert (pixels.shape, pixels.dtype) == ((100, 150, 3), np.uint8)
    assert (pixels == (255, 0, 0)).all()
    assert figure.dpi == 70


def test_one_legend_stands_below_all_axes():
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], label="a")
    right.plot([0, 1], label="a")
    plots.legend_below(figure, left, columns=1)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a"]
    figure.draw_without_rendering()
    assert legend.get_window_extent().y1 <= left.xaxis.get_tightbbox().y0


def test_colors_repeat_after_eight():
    assert len(set(plots.COLORS)) == 8
    assert [plots.color_of(i) for i in range(16)] == [*plots.COLORS] * 2
