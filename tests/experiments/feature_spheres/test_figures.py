"""Figures and animations of the spheres."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from keras_sphereface.experiments.feature_spheres import figures
from keras_sphereface.experiments.feature_spheres.statistics import sphere_statistics
from tests.experiments.feature_spheres.drawn import draw_sphere


@pytest.mark.parametrize("dim", [2, 3])
def test_losses_are_drawn_side_by_side_with_their_numbers(dim):
    spheres = [draw_sphere(dim, m, num_identities=5) for m in (None, 1, 4)]
    figure = figures.draw_spheres(spheres, ["a_b", "c", "d", "e", "f"])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["softmax", "m = 1", "m = 4"]
    for axes, sphere in zip(figure.axes[-3:], spheres, strict=True):
        texts, numbers = [text.get_text() for text in axes.texts], sphere_statistics(sphere)
        assert f"{numbers.mean_intra:.1f}°" in texts
        assert f"{numbers.smallest_inter:.1f}°" in texts
        assert f"{numbers.test_gap:.1f}°" in texts
    assert "mean angle within" in [text.get_text() for text in figure.axes[-3].texts]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a b", "c", "d", "e", "f"]


def test_the_view_is_towards_the_images():
    rng = np.random.default_rng(0)
    sphere = draw_sphere(3, 1)
    embeddings = [0.0, -1.0, 0.3] + 0.3 * rng.normal(size=(40, 3))
    cloud = dataclasses.replace(sphere.test, embeddings=embeddings, kernel=-embeddings[:4].T)
    azimuth, elevation = figures.best_view([dataclasses.replace(sphere, history=(cloud,))])
    assert abs(azimuth + 90) <= 30
    assert 0 <= elevation <= 45


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "make"), [(2, figures.training_gif), (3, figures.rotating_gif)])
def test_animations_have_all_frames_and_move(dim, make, monkeypatch):
    monkeypatch.setattr(figures, "ROTATION_FRAMES", 3)
    spheres = [draw_sphere(dim, m, frames=3) for m in (1, 4)]
    with Image.open(io.BytesIO(make(spheres))) as animation:
        assert animation.n_frames == 3
        frames, milliseconds = [], []
        for number in range(3):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB"), np.int32))
            milliseconds.append(animation.info["duration"])
    for one, other in itertools.pairwise(frames):
        assert np.abs(one - other).max() > 50
    assert milliseconds == [120, 120, 1800 if dim == 2 else 120]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_the_legend_stays_on_the_page(columns):
    names = [f"Luiz_Inacio_Lula_da_Silva_{n}" for n in range(6)]
    spheres = [draw_sphere(3, m, num_identities=6) for m in range(1, columns + 1)]
    figure = figures.draw_spheres(spheres, names)
    figure.savefig(io.BytesIO(), format="png")
    (legend,) = figure.legends
    assert figure.bbox.containsx(legend.get_window_extent().x0)
    assert figure.bbox.containsx(legend.get_window_extent().x1)
