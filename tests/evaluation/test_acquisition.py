"""Failures to acquire and to enroll, and the error rates that count them."""

import numpy as np
import pytest

from keras_sphereface.evaluation.acquisition import measure_acquisition
from keras_sphereface.evaluation.embeddings import template_embeddings
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.verification import verify_pairs
from tests.helpers.drawn_pairs import draw_embeddings, make_pairs

COUNT = 30


def measure(missing, spread=1.5):
    pairs, drawn = make_pairs(COUNT), draw_embeddings(COUNT, spread=spread)
    embeddings = drawn.select([key for key in drawn.keys if key not in missing])
    embeddings = embeddings._replace(missing=dict.fromkeys(missing, "no face"))
    verification = verify_pairs(pairs, embeddings)
    dataset = PairDataset(pairs, None, {}, "", has_names=True)
    return measure_acquisition(dataset, embeddings, verification), verification


def test_without_failures_the_fnmr_is_what_is_not_accepted():
    acquired, verification = measure([])
    assert (acquired.num_images, acquired.fta, acquired.fte) == (COUNT * 4, 0.0, None)
    assert acquired.fnmr_at_fmr["0.001"] is None
    for fmr, tar in verification.metrics.tar_at_far.items():
        expected = None if tar is None else pytest.approx(1 - tar)
        assert acquired.fnmr_at_fmr[fmr] == expected


def test_failures_count_as_not_matching():
    missing = ["P0/P0_0.jpg", "P5/P5_1.jpg", "P7/P7_2.jpg"]
    acquired, verification = measure(missing)
    pairs, used = make_pairs(COUNT), verification.pairs
    assert acquired.num_failures_to_acquire == 3
    assert acquired.fta == 3 / (COUNT * 4)
    score_of = dict(
        zip(zip(used.first, used.second, strict=True), verification.result.scores, strict=True)
    )
    both = zip(pairs.first, pairs.second, strict=True)
    scores = np.array([score_of.get(pair, -np.inf) for pair in both])
    assert np.sum(np.isinf(scores)) > 3
    cuts = [cut for cut in scores if np.mean(scores[~pairs.is_same] >= cut) <= 0.1]
    by_hand = min(np.mean(scores[pairs.is_same] < cut) for cut in cuts)
    assert acquired.fnmr_at_fmr["0.1"] == pytest.approx(by_hand)
    assert by_hand != pytest.approx(1 - verification.metrics.tar_at_far["0.1"])


def test_a_template_fails_to_enroll_without_any_image():
    pairs, drawn = make_pairs(COUNT), draw_embeddings(COUNT)
    # Each key of the pairs names a template of two images; of one template both are missing.
    templates = {key: [(f"a/{key}", ""), (f"b/{key}", "")] for key in list(pairs.keys())}
    lost = pairs.first[0]
    keys = [key for entries in templates.values() for key, _ in entries]
    views = {key: drawn.views[drawn.rows([key[2:]])[0]] for key in keys}
    missing = {f"a/{lost}": "no face", f"b/{lost}": "no face", f"b/{pairs.second[0]}": "no face"}
    present = [key for key in keys if key not in missing]
    images = drawn._replace(
        keys=present, views=np.array([views[key] for key in present]), missing=missing
    )
    verification = verify_pairs(pairs, template_embeddings(images, templates))
    dataset = PairDataset(pairs, None, templates, "", has_names=False)
    acquired = measure_acquisition(dataset, images, verification)
    assert (acquired.num_images, acquired.num_failures_to_acquire) == (len(keys), 3)
    assert (acquired.num_templates, acquired.num_failures_to_enroll) == (len(templates), 1)
    assert acquired.fte == 1 / len(templates)
