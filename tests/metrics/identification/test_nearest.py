"""The nearest identities of probes, against a loop."""

import numpy as np
import pytest

from keras_sphereface.metrics.identification import nearest, nearest_identities


@pytest.mark.parametrize("at_once", [1, 100, 1 << 24])
@pytest.mark.parametrize("count", [1, 3, 50])
def test_the_nearest_identities_are_those_of_the_best_entries(at_once, count, monkeypatch):
    monkeypatch.setattr(nearest, "SCORES_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    gallery, probes = rng.normal(size=(40, 5)), rng.normal(size=(9, 5))
    labels = np.array([f"p{i}" for i in rng.integers(0, 8, 40)])
    found = nearest_identities(gallery, labels, probes, count)
    assert found.entries.shape == found.scores.shape == (9, min(count, len(set(labels))))
    for probe, entries, scores in zip(probes, found.entries, found.scores, strict=True):
        cosines = gallery @ probe / np.linalg.norm(gallery, axis=1) / np.linalg.norm(probe)
        best = {}
        for entry in np.argsort(-cosines):
            best.setdefault(labels[entry], entry)
        expected = list(best.values())[:count]
        assert entries.tolist() == expected
        np.testing.assert_allclose(scores, cosines[expected], atol=1e-6)
