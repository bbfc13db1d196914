"""Several models on one set: the part of the report that compares them."""

import numpy as np
import pytest

from keras_sphereface.data.images import decode
from keras_sphereface.evaluation.comparison import MAX_SHOWN, compare_set, comparison_report
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.result import EvaluationResult
from keras_sphereface.evaluation.verification import measure_angles, verify_pairs
from tests.helpers.drawn_pairs import draw_embeddings, evaluation_metrics, make_pairs

COUNT = 40


def load(key):
    return np.full((112, 96, 3), sum(map(ord, key)) % 200, np.uint8)


def results_of(noises):
    rng, pairs = np.random.default_rng(0), make_pairs(COUNT)
    good = draw_embeddings(COUNT, spread=0.6)
    for i, noise in enumerate(noises):
        views = good.views + noise * rng.normal(size=good.views.shape)
        embeddings = good._replace(views=views.astype(np.float32))
        verification = verify_pairs(pairs, embeddings, replicates=20, has_names=True)
        metrics = evaluation_metrics(verification)
        named = type(metrics)(**{**vars(metrics), "model": f"model {i}"})
        angles = measure_angles(pairs, embeddings, has_names=True)
        yield EvaluationResult(named, verification, angles, None, {})


@pytest.fixture(scope="module")
def dataset():
    return PairDataset(make_pairs(COUNT), Faces(load, None), {}, "", has_names=True)


def test_two_models_are_told_apart_in_a_sentence_a_table_and_faces(dataset):
    results = list(results_of([0.0, 1.2]))
    compared = compare_set(results, dataset, 100, 0)
    page = comparison_report([result.metrics for result in results], [compared])
    assert "model 0 or model 1?" in page
    assert "model 0 minus model 1, 160 pairs" in page
    assert "which may be chance" not in page
    assert len(compared.sheets) == 2
    for title, png in compared.sheets.items():
        assert title.startswith("Right by model ")
        assert decode(png).std() > 10
        assert title.replace("&", "&amp;") in page


def test_equal_models_may_differ_by_chance(dataset):
    results = list(results_of([0.0, 0.01]))
    compared = compare_set(results, dataset, 100, 0)
    page = comparison_report([result.metrics for result in results], [compared])
    assert "which may be chance" in page


def test_of_many_models_each_is_compared_with_the_first(dataset):
    results = list(results_of([0.0, 0.3, 0.6, 0.9]))
    assert len(results) > MAX_SHOWN
    compared = compare_set(results, dataset, 20, 0)
    assert len({(row.first, row.second) for row in compared.differences}) == 6
    page = comparison_report([result.metrics for result in results], [compared])
    shown, _, folded = page.partition("The other models against each other")
    assert shown.count("<caption>model 0 minus") == 3
    assert "model 1 minus model 3" in folded
    assert {title.split(",")[0].split()[-1] for title in compared.sheets} <= {"0", "1", "2", "3"}


def test_without_draws_curves_remain(dataset):
    results = list(results_of([0.0, 1.2]))
    compared = compare_set(results, dataset._replace(faces=None), 0, 0)
    assert compared.differences == ()
    assert compared.sheets == {}
    page = comparison_report([result.metrics for result in results], [compared])
    assert "ROC and DET curves on lfw" in page
    assert "minus" not in page
