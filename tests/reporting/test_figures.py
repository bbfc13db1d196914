import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from keras_sphereface.plots.style import tone
from keras_sphereface.reporting.figures import (
    draw_figure,
    figure_png,
    save_figure,
    save_light_and_dark,
)


def test_a_figure_becomes_a_png_of_its_size():
    data = figure_png(Figure(figsize=(3, 2)), dpi=50)
    assert Image.open(io.BytesIO(data)).size == (150, 100)


def test_equal_figures_are_equal_files(tmp_path):
    for name in ("a", "b"):
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1], clip_on=True)
        (tmp_path / name).mkdir()
        save_figure(figure, tmp_path / name / "curve")
    for suffix in (".png", ".svg"):
        first, second = (tmp_path / name / f"curve{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    with Image.open(tmp_path / "a" / "curve.png") as image:
        assert image.size == (450, 300)
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_a_figure_is_drawn_for_light_and_for_dark_pages():
    pngs = draw_figure(lambda figure: figure.subplots().plot([0, 1]), (3, 2), dpi=50)
    light, dark = (Image.open(io.BytesIO(png)).convert("L") for png in pngs)
    assert light.size == dark.size == (150, 100)
    assert light.getpixel((0, 0)) > 250
    assert dark.getpixel((0, 0)) < 40
    # The frame and the numbers are legible: they differ from the page.
    assert light.getextrema()[0] < 60
    assert dark.getextrema()[1] > 200


def test_a_saved_figure_has_a_dark_version_of_its_tones(tmp_path):
    def draw():
        figure = Figure(figsize=(1, 1))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axhspan(0, 0.5, color=tone(0.0))
        axes.axhspan(0.5, 1, color=tone(0.75))
        axes.set_ylim(0, 1)
        return figure

    save_light_and_dark(draw, tmp_path / "tones")
    files = {path.name: path for path in tmp_path.iterdir()}
    assert sorted(files) == ["tones-dark.png", "tones.png", "tones.svg"]
    save_figure(draw(), tmp_path / "alone")
    assert files["tones.png"].read_bytes() == (tmp_path / "alone.png").read_bytes()
    light, dark = (
        np.asarray(Image.open(files[name]).convert("L"), int)[[40, 110], 75]
        for name in ("tones.png", "tones-dark.png")
    )
    np.testing.assert_allclose(light, [191, 0], atol=2)
    assert 40 < dark[0] < 110
    assert dark[1] > 220
