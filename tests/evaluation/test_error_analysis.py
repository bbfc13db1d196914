"""Who is mistaken for whom, and which labels may be wrong, on drawn embeddings and images."""

import numpy as np
import pytest

from keras_sphereface.evaluation import error_analysis
from keras_sphereface.evaluation.error_analysis import (
    identity_table,
    measure_errors,
    picture_likeness,
)
from keras_sphereface.evaluation.error_report import (
    common_doubts,
    error_blocks,
    error_sheets,
)
from keras_sphereface.evaluation.faces import Faces, MissingFaceError
from keras_sphereface.evaluation.operating_point import compare_images
from keras_sphereface.reporting import html
from keras_sphereface.reporting.figures import FigurePngs
from tests.helpers.drawn_pairs import draw_embeddings, make_pairs

COUNT = 20


def draw():
    """P3 and P4 look alike, P6_0 is someone else's face, and P9_0 is a copy of P8_0."""
    embeddings = draw_embeddings(COUNT, spread=0.25)
    views = embeddings.views.copy()
    row = {key: i for i, key in enumerate(embeddings.keys)}
    for j in range(4):
        views[row[f"P4/P4_{j}.jpg"]] = views[row[f"P3/P3_{j}.jpg"]] + 0.6
    views[row["P6/P6_0.jpg"]] = -views[row["P6/P6_1.jpg"]]
    views[row["P9/P9_0.jpg"]] = views[row["P8/P8_0.jpg"]]
    return embeddings._replace(views=views)


def face_of(key):
    seed = 8000 if key == "P9/P9_0.jpg" else 1000 * int(key[1 : key.index("/")]) + int(key[-5])
    face = np.random.default_rng(seed).integers(0, 256, (28, 24, 3), np.uint8)
    return face[:, ::-1] if key == "P9/P9_0.jpg" else face


def compare(has_identities=True):
    return compare_images(make_pairs(COUNT), draw(), has_identities, 0.01)


@pytest.fixture(scope="module")
def compared():
    return compare()


@pytest.fixture(scope="module")
def metrics(compared):
    return measure_errors(compared, Faces(face_of))


def doubted(metrics, kind):
    return [(d.first, d.second) for d in metrics.label_doubts if d.kind == kind]


def test_identities_that_look_alike_are_named(metrics, compared):
    most = metrics.confusions[0]
    assert (most.first, most.second) == ("P3", "P4")
    comparisons = compared.comparisons
    pairs = comparisons.false_matches(metrics.point.threshold)
    of_both = [
        score
        for pair, score in zip(pairs, comparisons.mismatched_scores, strict=False)
        if {compared.keys[row].split("/")[0] for row in pair} == {"P3", "P4"}
    ]
    assert most.num_false_matches == len(of_both)
    assert most.highest_score == max(of_both)
    assert {one.identity for one in metrics.wolves[:2]} == {"P3", "P4"}
    counts = [one.num_false_matches for one in metrics.confusions]
    assert counts == sorted(counts, reverse=True)


def test_the_table_has_all_errors(metrics, compared):
    table = identity_table(compared).set_index("identity")
    assert len(table) == COUNT
    point = metrics.point
    assert table["num_false_nonmatches"].sum() == round(point.fnmr * point.num_matched)
    assert table["num_false_matches"].sum() == 2 * round(point.fmr * point.num_mismatched)
    assert table["share_of_false_nonmatches"].sum() == pytest.approx(1)
    assert table["share_of_false_matches"].sum() == pytest.approx(2)
    assert table["num_matched"].sum() == point.num_matched
    assert metrics.goats[0].identity == table["num_false_nonmatches"].idxmax() == "P6"
    assert metrics.false_matches.share_with_half < metrics.false_matches.by_chance


def test_an_image_unlike_its_identity_is_doubted(metrics, compared):
    assert doubted(metrics, "matched")
    for pair in doubted(metrics, "matched"):
        assert {"P6/P6_0.jpg", "P9/P9_0.jpg"} & set(pair)
    assert metrics.worst_images[0].image == "P6/P6_0.jpg"
    rows = compared.embeddings / np.linalg.norm(compared.embeddings, axis=1, keepdims=True)
    worst = compared.keys.index("P6/P6_0.jpg")
    mates = [i for i, key in enumerate(compared.keys) if key.startswith("P6/") and i != worst]
    assert metrics.worst_images[0].score == pytest.approx(np.mean(rows[mates] @ rows[worst]))
    assert metrics.best_images[0].score >= metrics.best_images[1].score > 0.5


def test_a_copy_of_a_picture_comes_first(metrics, compared):
    first = doubted(metrics, "mismatched")[0]
    assert first == ("P8/P8_0.jpg", "P9/P9_0.jpg")
    reasons = [d.reason for d in metrics.label_doubts if d.kind == "mismatched"]
    assert "same picture" in reasons[0]
    assert not any("same picture" in reason for reason in reasons[1:])
    without = measure_errors(compared)
    assert first in doubted(without, "mismatched")  # by its score
    assert not any("picture" in d.reason for d in without.label_doubts)


def test_the_mean_of_all_mismatched_scores_needs_no_list(compared):
    rows = compared.embeddings / np.linalg.norm(compared.embeddings, axis=1, keepdims=True)
    i, j = np.triu_indices(len(rows), 1)
    different = compared.identities[i] != compared.identities[j]
    expected = np.sum(rows[i] * rows[j], axis=1)[different].mean()
    few = compared.comparisons
    few = compared._replace(
        comparisons=type(few)(
            few.matched,
            few.matched_scores,
            few.mismatched[:5],
            few.mismatched_scores[:5],
            few.num_mismatched,
        )
    )
    for one in (few, compared):
        assert error_analysis.mean_mismatched_score(one) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("change", "alike"), [(10, True), (120, False)])
def test_likeness_of_pictures(change, alike):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 200, (14, 12, 1), np.uint8).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    other = blocks[:, ::-1] + rng.integers(0, change, (14, 12, 1)).repeat(8, 0).repeat(8, 1)
    likeness = picture_likeness(blocks, np.clip(other, 0, 255).astype(np.uint8))
    assert (likeness >= error_analysis.SAME_PICTURE) == alike
    assert picture_likeness(blocks, np.zeros_like(blocks)) == 0.0


def test_without_identities_only_pairs_are_doubted():
    compared = compare(has_identities=False)
    metrics = measure_errors(compared)
    assert identity_table(compared) is None
    assert metrics.num_goats is metrics.false_matches is None
    assert metrics.goats == metrics.confusions == ()
    assert doubted(metrics, "matched")
    assert all({"P6/P6_0.jpg", "P9/P9_0.jpg"} & {*pair} for pair in doubted(metrics, "matched"))
    assert "goats" not in html.render_page("Errors", error_blocks(metrics, {}))


def test_the_report_names_and_shows_them(metrics):
    sheets = error_sheets(metrics, Faces(face_of), {})
    assert set(sheets) == {
        *("confusions.png", "label_doubts.png"),
        *("worst_images.png", "best_images.png"),
    }
    images = {name: FigurePngs(png, b"") for name, png in sheets.items()}
    page = html.render_page("Errors", error_blocks(metrics, images))
    assert "P3 and P4 are mistaken for each other most often" in page
    assert page.count("<img") == 4
    for name in ("P6/P6_0.jpg", "P9/P9_0.jpg", "Doddington"):
        assert name in page

    def missing(key):
        raise MissingFaceError("no such image")

    assert error_sheets(metrics, Faces(missing), {}) == {}


def test_models_share_doubts(metrics):
    few = type(metrics)(metrics.point, metrics.label_doubts[1:3], (), ())
    assert common_doubts([metrics, few]) == list(metrics.label_doubts[1:3])
    assert common_doubts([metrics]) == list(metrics.label_doubts)
