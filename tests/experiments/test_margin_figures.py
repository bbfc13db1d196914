import numpy as np
import pandas as pd
import pytest

from keras_sphereface.config import MarginFiguresConfig
from keras_sphereface.data import images
from keras_sphereface.experiments import margin_figures
from keras_sphereface.reporting.figures import save_figure

NAMES = ("psi", "boundaries", "bounds", "annealing", "target_logits")
theta = np.linspace(0, np.pi, 721)


@pytest.mark.slow
def test_all_figures_and_the_bounds_are_written(tmp_path):
    out = tmp_path / "new" / "margins"
    table = margin_figures.margin_figures(MarginFiguresConfig(out=str(out), m=3, angle=80.0))
    files = {name + end for name in NAMES for end in (".png", ".svg", "-dark.png")}
    assert {path.name for path in out.iterdir()} == files | {"bounds.csv"}
    for name in NAMES:
        light, dark = (
            images.decode((out / f"{name}{end}.png").read_bytes()) for end in ("", "-dark")
        )
        assert light.shape == dark.shape
        # The edges of axes, black and light, stand out of the page.
        assert light[0, 0].min() > 250 > 60 > light.min()
        assert dark[0, 0].max() < 60 < 200 < dark.max()
        drawn = (out / f"{name}.svg").read_text(encoding="utf-8")
        assert "</svg>" in drawn
        assert len(drawn) < 300_000
    pd.testing.assert_frame_equal(pd.read_csv(out / "bounds.csv"), table)
    np.testing.assert_allclose(table["numerical"], table["theoretical"], rtol=0, atol=1e-6)
    assert list(table["classes"]) == [2, 2, 2, 2, 2, 2, 3, 4, 6, 10]
    assert list(table["degrees_between"]) == [30, 60, 90, 120, 150, 180, 120, 90, 60, 36]
    assert set(np.round(table["theoretical"], 6)) == {3.732051, 3.4, 3.0}


@pytest.mark.slow
def test_the_same_figure_has_the_same_bytes(tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        save_figure(margin_figures.draw_annealing(steps=2000), folder / "annealing")
        written.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert len(written[0]) == 2
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"m": 1}, "`m` must be an int >= 2"),
        ({"angle": 29.0}, "`angle` must be a finite number from 30 to 170"),
        ({"angle": 180.0}, "`angle` must be a finite number from 30 to 170"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, settings, message):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        margin_figures.margin_figures(MarginFiguresConfig(out=str(out), **settings))
    assert not out.exists()


@pytest.mark.parametrize("m", [1, 2, 5])
def test_psi_and_slope_are_those_of_the_formula_and_of_differences(m):
    pure, _ = margin_figures.psi_and_slope(theta, m, 0.0)
    assert (pure[0], pure[-1]) == pytest.approx((1, 1 - 2 * m))
    values, slope = margin_figures.psi_and_slope(theta, m, 5.0)
    np.testing.assert_allclose(values, (5 * np.cos(theta) + pure) / 6, atol=1e-12)
    differences = np.diff(values) / theta[1]
    np.testing.assert_allclose((slope[1:] + slope[:-1]) / 2, differences, atol=0.03)


def test_the_slope_of_psi_is_steepest_at_m():
    _, slope = margin_figures.psi_and_slope(theta, 6, 0.0)
    assert slope.min() == pytest.approx(-6)
    assert slope.max() == pytest.approx(0, abs=1e-6)


def curves_of(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def test_the_targets_are_those_of_the_papers():
    (axes,) = margin_figures.draw_target_logits().axes
    at = {
        label.split(",")[0] + label.rpartition("=")[2].partition("\n")[0]: values
        for label, values in curves_of(axes).items()
    }
    cos = np.cos(theta)
    before = theta < np.pi - 0.5
    np.testing.assert_allclose(at["CosFace 0.35"], cos - 0.35, atol=1e-5)
    np.testing.assert_allclose(at["ArcFace 0.5"][before], np.cos(theta + 0.5)[before], atol=1e-3)
    expected = np.cos(np.minimum(1.5 * theta, np.pi))
    np.testing.assert_allclose(at["SphereFace-R v1 1.5"], expected, atol=1e-5)
    np.testing.assert_allclose(at["SphereFace-R v2 1.5"], cos, atol=1e-5)
    own = 2 * ((cos + 1) / 2) ** 3 - 1 - 0.4
    np.testing.assert_allclose(at["SphereFace2 0.4"], own, atol=1e-5)
    assert at["SphereFace 0"][[0, 180, 360, -1]] == pytest.approx([1, -1, -3, -7], abs=1e-5)
    assert at["SphereFace 5"][[0, 360, -1]] == pytest.approx([1, -0.5, -2], abs=1e-5)
    dashed = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed, [np.cos(theta / 1.5), own + 0.8], atol=1e-5)


def test_the_annealing_is_marked_at_the_values_of_liu_et_al():
    axes, _ = margin_figures.draw_annealing().axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["892.9 at step 1", "16.36 at step 501", "5 at step 1659"]


def test_psi_is_drawn_for_six_margins_with_and_without_lambda():
    figure = margin_figures.draw_psi()
    ends = [[line.get_ydata()[-1] for line in axes.lines] for axes in figure.axes]
    m = np.arange(1, 7)
    np.testing.assert_allclose(ends[0], 1 - 2 * m)
    np.testing.assert_allclose(ends[1], (-5 + 1 - 2 * m) / 6)
    np.testing.assert_allclose(ends[2:], 0, atol=1e-6)
