import statistics

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from keras_sphereface import plots
from keras_sphereface.metrics import auc_score, equal_error_rate, roc_curve
from tests.helpers.axes import (
    drawn_roc,
    drawn_scores,
    finish,
    new_axes,
    value_of_steps,
    visible_ticks,
)


def rates_at(threshold, scores, is_same):
    """False accept and false reject rate, counted pair by pair."""
    accepted = [bool(score >= threshold) for score in scores]
    false_accepts = sum(a and not s for a, s in zip(accepted, is_same, strict=True))
    false_rejects = sum(s and not a for a, s in zip(accepted, is_same, strict=True))
    return false_accepts / sum(~is_same), false_rejects / sum(is_same)


def test_the_roc_shows_what_each_false_accept_rate_allows():
    scores, is_same = drawn_scores(400)
    axes = plots.plot_roc(new_axes(), {"": roc_curve(scores, is_same)})
    (line,) = axes.lines
    assert axes.get_title() == f"ROC, AUC {auc_score(roc_curve(scores, is_same)):.4f}"
    rates = [rates_at(cut, scores, is_same) for cut in sorted(set(scores))]
    for far in (0.0051, 0.0101, 0.05, 0.2, 0.7, 1.0):
        best = max(1 - frr for reached, frr in rates if reached <= far)
        assert value_of_steps(line, far) == pytest.approx(best)
    # No upright stroke at the left end, where it would hide in the frame.
    assert np.all(np.diff(line.get_xdata()) > 0)
    assert axes.get_xscale() == "log"
    assert axes.get_legend() is None


@pytest.mark.parametrize(("num_pairs", "smallest"), [(2, 0.5), (8, 0.25), (400, 0.005)])
def test_the_roc_begins_where_one_negative_is_accepted(num_pairs, smallest):
    scores = np.linspace(1, 0, num_pairs)
    curve = roc_curve(scores, np.arange(num_pairs) % 2 == 0)
    axes = finish(plots.plot_roc(new_axes(), {"": curve}))
    assert axes.get_xlim() == pytest.approx((smallest, 1.0))
    assert len(visible_ticks(axes.xaxis)) >= 2
    assert all(float(text) == pytest.approx(at) for text, at in visible_ticks(axes.xaxis).items())


def test_a_perfect_roc_is_seen_at_the_top():
    axes = plots.plot_roc(new_axes(), {"": drawn_roc(60, gap=9)})
    assert value_of_steps(axes.lines[0], 1 / 30) == 1.0
    assert axes.get_ylim()[1] > 1


# Its last row of points ends with a false accept rate of 1.
MATE_LAST = np.arange(7.0, 0.0, -1.0), np.array([1, 0, 1, 0, 0, 0, 1], bool)


@pytest.mark.parametrize("data", [drawn_scores(200), MATE_LAST], ids=["drawn", "mate last"])
def test_the_det_has_the_errors_of_every_threshold_that_makes_both_kinds(data):
    scores, is_same = data
    axes = plots.plot_det(new_axes(), {"": roc_curve(scores, is_same)})
    cdf = np.vectorize(statistics.NormalDist().cdf)
    shown = {tuple(point) for point in np.round(cdf(axes.lines[0].get_xydata()), 6)}
    counted = {tuple(np.round(rates_at(cut, scores, is_same), 6)) for cut in scores}
    counted = {point for point in counted if min(point) > 0 and max(point) < 1}
    counted = {point for point in counted if point[0] <= plots.scores.MAX_DET_FMR}
    assert shown <= counted
    # What is not shown lies on a straight piece between two that are.
    for far, frr in counted - shown:
        in_row = [other for other in shown if other[1] == frr]
        in_column = [other for other in shown if other[0] == far]
        assert max(len(in_row), len(in_column)) >= 2


def test_the_ticks_of_the_det_are_per_cent_on_a_normal_deviate_scale():
    axes = finish(plots.plot_det(new_axes(), {"": drawn_roc(2000)}))
    cdf = statistics.NormalDist().cdf
    for axis in (axes.xaxis, axes.yaxis):
        ticks = visible_ticks(axis)
        assert len(ticks) >= 5
        assert all(100 * cdf(at) == pytest.approx(float(text)) for text, at in ticks.items())
    assert not axes.texts


def test_the_det_uses_its_space():
    curve = drawn_roc(2000)
    axes = finish(plots.plot_det(new_axes(), {"": curve}))
    cdf = np.vectorize(statistics.NormalDist().cdf)
    x, y = cdf(axes.lines[0].get_xydata()).T
    assert x.max() <= 0.5
    for low, high, values in zip(
        *zip(axes.get_xlim(), axes.get_ylim(), strict=True), (x, y), strict=True
    ):
        assert 0.5 * values.min() < cdf(low) < values.min()
        assert values.max() < cdf(high) < 2 * values.max()


def test_the_equal_error_rate_is_marked_and_named():
    curves = {"good": drawn_roc(2000), "poor": drawn_roc(2000, 0.5)}
    rates = [equal_error_rate(curve) for curve in curves.values()]
    axes = plots.plot_det(new_axes(), curves)
    dots = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
    cdf = np.vectorize(statistics.NormalDist().cdf)
    np.testing.assert_allclose(cdf(np.concatenate(dots)), [[rate, rate] for rate in rates])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == [f"{n}: EER {100 * r:.2f} %" for n, r in zip(curves, rates, strict=True)]
    one = plots.plot_det(new_axes(), {"good": curves["good"]})
    assert one.get_title() == f"DET, EER {100 * rates[0]:.2f} %"


@pytest.mark.parametrize("draw", [plots.plot_roc, plots.plot_det])
def test_bands_lie_around_their_curves(draw):
    curve = drawn_roc(2000)
    fmr = np.linspace(0, 1, 1001)
    tar = curve.tar[np.searchsorted(curve.far, fmr, side="right") - 1]
    band = fmr, np.maximum(tar - 0.05, 0), np.minimum(tar + 0.05, 1)
    axes = finish(draw(new_axes(), {"good": curve, "other": drawn_roc(300)}, {"good": band}))
    (filled,) = axes.collections
    (path,) = filled.get_paths()
    inside = path.contains_points(axes.lines[0].get_xydata()[20:-20])
    assert inside.mean() > 0.95
    assert filled.get_facecolor()[0][:3] == pytest.approx(to_rgb(axes.lines[0].get_color()))


def test_the_diagonal_of_the_det_is_where_both_errors_are_equal():
    axes = plots.plot_det(new_axes(), {"": drawn_roc(200)})
    x, y = axes.lines[-1].get_data()
    np.testing.assert_array_equal(x, y)


def test_a_det_without_any_errors_shows_a_note():
    axes = finish(plots.plot_det(new_axes(), {"": drawn_roc(60, gap=9)}))
    assert "no curve to draw" in axes.texts[0].get_text()
    assert {"5", "20", "40"} <= set(visible_ticks(axes.xaxis))


def test_a_model_without_errors_is_named_beside_one_with_errors():
    curves = {"perfect": drawn_roc(60, gap=9), "other": drawn_roc(400)}
    axes = plots.plot_det(new_axes(), curves)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "perfect: EER 0.00 % (no point to draw)",
        f"other: EER {100 * equal_error_rate(curves['other']):.2f} %",
    ]
    assert not axes.texts


def test_one_point_is_marked():
    scores, is_same = np.array([4.0, 3, 2, 1]), np.array([True, False, True, False])
    axes = plots.plot_det(new_axes(), {"": roc_curve(scores, is_same)})
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0, 0]], atol=1e-12)
    assert axes.lines[0].get_marker() == "o"


@pytest.mark.slow
def test_a_million_scores_are_few_points():
    rng = np.random.default_rng(0)
    is_same = np.arange(1_000_000) % 2 == 0
    curves = {"": roc_curve(rng.normal(is_same * 4.0, 1.0), is_same)}
    for draw in (plots.plot_roc, plots.plot_det):
        assert len(draw(new_axes(), curves).lines[0].get_xdata()) < 100_000


def test_the_histogram_counts_every_pair():
    scores, is_same = drawn_scores(400)
    axes = plots.plot_similarity_histogram(new_axes(), scores, is_same, threshold=0.2)
    assert sum(patch.get_height() for patch in axes.patches) == 400
    assert axes.get_xlabel() == "cosine"
    texts = [text.get_text() for text in finish(axes).get_legend().get_texts()]
    assert texts == ["different identities", "same identity", "threshold 0.200"]


def test_the_histogram_takes_scores_of_any_range():
    scores, is_same = drawn_scores(8)
    axes = plots.plot_similarity_histogram(new_axes(), 40 * scores - 20, is_same, unit="log ratio")
    assert sum(patch.get_height() for patch in axes.patches) == 8
    assert axes.get_xlabel() == "log ratio"


def test_angles_are_densities_over_half_a_turn():
    intra, inter = np.zeros(36), np.zeros(36)
    intra[6:9], inter[16:20] = (10, 30, 10), (1000, 5000, 5000, 1000)
    axes = plots.plot_angle_distributions(new_axes(), intra, inter, 44.56, 80.0)
    for patch, peak in zip(axes.patches, (37.5, 90.0), strict=True):
        values, edges, _ = patch.get_data()
        assert (edges[0], edges[-1]) == (0, 180)
        assert np.sum(values * np.diff(edges)) == pytest.approx(1)
        middles = (edges[1:] + edges[:-1]) / 2
        assert np.sum(middles * values * np.diff(edges)) == pytest.approx(peak)
    assert [line.get_xdata()[0] for line in axes.lines] == [44.56, 80.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "within a class",
        "largest within 44.6°",
        "between classes",
        "smallest between 80.0°",
    ]


def test_classes_of_one_image_have_no_angles_within():
    axes = finish(plots.plot_angle_distributions(new_axes(), np.zeros(18), np.ones(18), None, 3.0))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["within a class (none)", "between classes", "smallest between 3.0°"]
    empty = plots.plot_angle_distributions(new_axes(), np.zeros(18), np.zeros(18))
    assert finish(empty).get_ylim()[0] == 0


@pytest.mark.parametrize(("intra", "inter"), [((18,), (36,)), ((2, 9), (2, 9))])
def test_counts_of_other_shapes_are_refused(intra, inter):
    with pytest.raises(ValueError, match=r"one shape \(N,\). Received: \("):
        plots.plot_angle_distributions(new_axes(), np.ones(intra), np.ones(inter))
