"""Quality of images: measures, what they foretell, and what refusal costs."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.faces import Faces, MissingFaceError
from keras_sphereface.evaluation.image_quality import (
    DESCRIPTIONS,
    REFUSED_SHARES,
    image_table,
    measure_image_quality,
    sharpness,
    size_and_frontality,
)
from keras_sphereface.evaluation.operating_point import compare_images
from keras_sphereface.evaluation.quality_report import (
    lowest_sheet,
    quality_blocks,
    quality_figure,
    quality_sentences,
)
from keras_sphereface.reporting import html
from keras_sphereface.reporting.figures import FigurePngs
from tests.helpers.drawn_pairs import make_pairs

COUNT, IMAGES = 60, 4


def draw(foretells=True):
    """Embeddings with noise; noisy ones are short if the length foretells errors, else long."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(COUNT, 1, 1, 8))
    noise = rng.uniform(0.1, 2.0, (COUNT, IMAGES, 1, 1))
    views = directions + noise * rng.normal(size=(COUNT, IMAGES, 1, 8))
    lengths = 10 / noise if foretells else noise
    views *= lengths / np.linalg.norm(views, axis=-1, keepdims=True)
    keys = [f"P{i}/P{i}_{j}.jpg" for i in range(COUNT) for j in range(IMAGES)]
    return Embeddings(keys, views.reshape(-1, 1, 8), {}), lengths.ravel()


def measure(foretells=True, replicates=100, **known):
    embeddings, _ = draw(foretells)
    compared = compare_images(make_pairs(COUNT), embeddings, True, 0.01)
    table = image_table(compared, embeddings, **known)
    return compared, table, measure_image_quality(compared, table, replicates, 0)


@pytest.fixture(scope="module")
def measured():
    return measure()


def test_the_norm_is_that_of_the_embedding(measured):
    compared, table, metrics = measured
    embeddings, lengths = draw()
    by_key = dict(zip(embeddings.keys, lengths, strict=True))
    assert table["image"].tolist() == compared.keys
    np.testing.assert_allclose(table["norm"], [by_key[key] for key in compared.keys])
    assert [one.image for one in metrics.lowest[:3]] == sorted(by_key, key=by_key.get)[:3]
    assert [one.name for one in metrics.measures] == ["norm"]


def test_a_length_that_foretells_errors_is_seen(measured):
    _, _, metrics = measured
    (norm,) = metrics.measures
    assert norm.is_better_than_random
    assert norm.interval.low <= norm.area <= norm.interval.high < 1
    assert norm.fnmr_by_discard[0] == pytest.approx(metrics.point.fnmr)
    assert norm.fnmr_by_discard[20] < metrics.point.fnmr - 0.03
    assert "|x| foretells false non-matches" in quality_sentences(metrics)[0]


def test_a_length_that_misleads_is_the_result():
    _, _, metrics = measure(foretells=False)
    assert not metrics.measures[0].is_better_than_random
    assert metrics.suggested is None
    text = " ".join(quality_sentences(metrics))
    assert "|x| is not shown to foretell" in text
    assert "none is suggested" in text


@pytest.mark.parametrize(
    ("threshold", "sentence"), [(1.1, "Every matched comparison"), (-1.1, "No matched comparison")]
)
def test_no_measure_foretells_errors_where_all_fail_or_none(measured, threshold, sentence):
    compared, table, _ = measured
    fnmr = float(threshold > 0)
    point = dataclasses.replace(compared.point, threshold=threshold, fnmr=fnmr)
    metrics = measure_image_quality(compared._replace(point=point), table, 20, 0)
    assert metrics.measures[0].area is None
    assert metrics.measures[0].interval is None
    assert quality_sentences(metrics)[0].startswith(sentence)


def test_refusal_is_that_of_images_below_the_limit(measured):
    compared, table, metrics = measured
    (norm,) = metrics.measures
    assert [one.share for one in norm.refusals] == list(REFUSED_SHARES)
    comparisons, threshold = compared.comparisons, metrics.point.threshold
    for one in norm.refusals:
        kept = table["norm"].to_numpy() >= one.limit
        assert one.num_refused == np.sum(~kept)
        matched = kept[comparisons.matched].all(axis=1)
        expected = np.mean(comparisons.matched_scores[matched] < threshold)
        assert one.fnmr == pytest.approx(expected)
        assert one.change == pytest.approx(expected - metrics.point.fnmr)
        mismatched = kept[comparisons.mismatched].all(axis=1)
        if len(comparisons.mismatched) == comparisons.num_mismatched:
            scores = comparisons.mismatched_scores[mismatched]
            assert one.fmr == pytest.approx(np.mean(scores >= threshold))
        names = {key.split("/")[0] for key, keep in zip(compared.keys, kept, strict=True) if keep}
        assert one.num_identities_lost == COUNT - len(names)
    sure = [one for one in norm.refusals[:-1] if one.interval.high < 0]  # of 10 % at most
    gains = {one.share: one.change / one.share for one in sure}
    assert metrics.suggested.share == min(gains, key=gains.get)


def test_listed_pairs_alone_where_identities_are_unknown():
    embeddings, _ = draw()
    compared = compare_images(make_pairs(COUNT), embeddings, False, 0.1)
    metrics = measure_image_quality(compared, image_table(compared, embeddings), 20, 0)
    refusal = metrics.measures[0].refusals[-1]
    kept = (image_table(compared, embeddings)["norm"] >= refusal.limit).to_numpy()
    comparisons = compared.comparisons
    inside = kept[comparisons.mismatched].all(axis=1)
    accepted = comparisons.mismatched_scores[inside] >= metrics.point.threshold
    assert refusal.fmr == pytest.approx(accepted.mean())
    assert refusal.num_identities_lost is None


def test_pixels_and_landmarks_are_measured_where_they_are_known():
    rng = np.random.default_rng(0)
    points = {f"P{i}/P{i}_{j}.jpg": rng.normal(50, 20, (5, 2)) for i in range(60) for j in range(4)}
    faces = Faces(lambda key: np.random.default_rng(len(key)).integers(0, 256, (9, 8, 3), np.uint8))
    _, table, metrics = measure(faces=faces, landmarks=points, replicates=0)
    assert [one.name for one in metrics.measures] == list(DESCRIPTIONS)
    assert metrics.measures[0].interval is None
    key = table["image"][7]
    assert table["sharpness"][7] == sharpness(faces.load(key))
    assert (table["size"][7], table["frontality"][7]) == size_and_frontality(points[key])
    del points[key]
    _, _, metrics = measure(landmarks=points, replicates=0)
    assert [one.name for one in metrics.measures] == ["norm"]  # not of all images


def test_blur_is_less_sharp_and_a_turned_head_less_frontal():
    face = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    blurred = (face // 2 + np.roll(face, 1, 0) // 2).astype(np.uint8)
    assert sharpness(blurred) < sharpness(face)
    frontal = np.array([[10, 10], [50, 10], [30, 30], [15, 50], [45, 50]], float)
    turned = frontal + [[0, 0], [0, 0], [12, 0], [0, 0], [0, 0]]
    assert size_and_frontality(frontal) == (40.0, 0.0)
    assert size_and_frontality(turned) == pytest.approx((40.0, -0.3))
    # A head on its side is no turned head.
    rotated = turned @ np.array([[0, 1], [-1, 0]])
    assert size_and_frontality(rotated) == pytest.approx((40.0, -0.3))


def test_the_report_says_what_to_refuse(measured):
    _, _, metrics = measured
    sheet = lowest_sheet(metrics, Faces(lambda key: np.zeros((9, 8, 3), np.uint8)), {})
    images = {"quality.png": quality_figure(metrics), "lowest_quality.png": FigurePngs(sheet, b"")}
    page = html.render_page("Quality", quality_blocks(metrics, images))
    assert "Suggested limit for enrollment: refuse images with |x| below" in page
    assert "Refusing images by norm" in page
    assert page.count("<img") == 2

    def missing(key):
        raise MissingFaceError("no such image")

    assert lowest_sheet(metrics, Faces(missing), {}) is None
