"""False match rates beyond the listed pairs."""

import dataclasses

import numpy as np
import pytest

from keras_sphereface.evaluation import beyond
from keras_sphereface.evaluation.beyond import measure_beyond
from keras_sphereface.evaluation.beyond_report import beyond_blocks
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.metrics.bootstrap import Interval


def drawn_embeddings(num_images=400, per_identity=4):
    rng = np.random.default_rng(0)
    keys = [f"p{i // per_identity:03d}/{i}.jpg" for i in range(num_images)]
    centers = rng.normal(size=(num_images // per_identity, 16))
    views = np.repeat(centers, per_identity, axis=0) + rng.normal(size=(num_images, 16))
    return Embeddings(keys, views[:, None], {})


@pytest.fixture(scope="module")
def measured():
    embeddings = drawn_embeddings()
    rng = np.random.default_rng(1)
    unit = embeddings.features / np.linalg.norm(embeddings.features, axis=1, keepdims=True)
    first, second = rng.integers(400, size=(2, 3000))
    listed = np.sum(unit[first] * unit[second], axis=1)[first // 4 != second // 4]
    return measure_beyond(embeddings, embeddings.keys, listed, replicates=20)


def test_all_pairs_carry_smaller_rates_than_the_list(measured):
    assert measured.num_mismatched == 400 * 396 // 2
    assert measured.num_matched == 600
    points = {point.fmr: point for point in measured.points}
    assert points[1e-4].threshold is not None
    assert points[1e-5].threshold is None
    assert points[1e-4].fnmr > points[1e-2].fnmr > 0
    interval = points[1e-2].fnmr_interval
    assert interval.low < points[1e-2].fnmr < interval.high


def test_extrapolations_agree_with_what_they_can_be_checked_by(measured):
    points = {point.fmr: point for point in measured.points}
    known = points[1e-3]
    assert known.extrapolated_threshold == pytest.approx(known.threshold, abs=0.01)
    assert known.extrapolated_interval.low < known.threshold < known.extrapolated_interval.high
    assert 1e-4 < known.listed_fmr < 1e-2
    rising = [point.extrapolated_threshold for point in measured.points[1:]]
    assert rising == sorted(rising)


def test_the_report_marks_what_is_extrapolated(measured):
    heading, paragraph, by_pairs, table = beyond_blocks(measured)
    assert heading.text == "Beyond the listed pairs"
    assert "79,200 mismatched" in paragraph.text
    assert "extrapolated, all pairs" in table.header
    known = [point for point in measured.points if point.threshold is not None]
    assert [row[0] for row in by_pairs.rows] == [f"{point.fmr:g}" for point in known]
    row = table.rows[5]
    assert row[0] == "1e-07" not in [row[0] for row in by_pairs.rows]
    assert row[1] != ""
    assert beyond_blocks(None) == []


def test_the_report_says_whether_the_extrapolation_holds(measured):
    text = beyond_blocks(measured)[1].text
    point = next(point for point in measured.points if point.fmr == 1e-4)
    interval = point.listed_fmr_interval
    holds = interval.low <= 1e-4 <= interval.high
    assert f"for a false match rate of 0.0001 has one of {point.listed_fmr:.2g}" in text
    assert text.endswith("holds." if holds else "does not hold.")
    far = dataclasses.replace(point, listed_fmr_interval=Interval(2e-4, 3e-4), threshold=1.2)
    other = dataclasses.replace(measured, points=(far,))
    _, paragraph, table, _ = beyond_blocks(other)
    assert paragraph.text.endswith("does not hold.")
    assert table.rows[0][1] == "> 1"


def test_missing_images_are_left_out_and_too_many_are_not_compared(monkeypatch):
    embeddings = drawn_embeddings(40)
    some = measure_beyond(embeddings, [*embeddings.keys[:20], "p0/missing.jpg"], np.zeros(5))
    assert some.num_images == 20
    assert some.points[-1].extrapolated_threshold is None
    monkeypatch.setattr(beyond, "MAX_IMAGES", 39)
    assert measure_beyond(embeddings, embeddings.keys, np.zeros(5)) is None
    single = embeddings.keys[::4]
    assert measure_beyond(embeddings, single, np.zeros(5)) is None
