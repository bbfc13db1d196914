"""The benchmark of the evaluation, and its brute force."""

import re

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.benchmarks import evaluation
from keras_sphereface.config import EvaluateBenchmarkConfig
from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.metrics import protocols


@pytest.mark.full
def test_every_part_is_measured(tmp_path):
    config = EvaluateBenchmarkConfig(
        out=str(tmp_path),
        **{"backbone": "sphereface4", "width": 0.05, "num_images": 20, "batch_size": 8},
        **{"num_pairs": 40, "num_probes": 160, "num_distractors": 3000, "repeats": 2},
    )
    text = evaluation.benchmark_evaluation(config)
    (row,) = pd.read_csv(tmp_path / "evaluate.csv").itertuples()
    assert (row.case, row.baseline) == (evaluation.WHOLE, evaluation.BARE)
    assert min(row.images_per_second, row.baseline_images_per_second, row.ratio) > 0
    assert (tmp_path / "evaluate.md").read_text() == text
    for name in PROTOCOLS:
        assert re.search(rf"\| {name} \| 0\.\d+ \| .* \| to the last digit \|", text)
    assert "160 probes among 3,000 distractors" in text


def test_the_search_is_timed_beside_its_products():
    text = evaluation.describe_search(160, 200, repeats=1, seed=0)
    assert re.match(r"160 probes among 200 distractors of 512 numbers: \d", text)


@pytest.mark.slow
def test_the_brute_force_has_errors_to_count():
    drawn = evaluation.draw_scored_pairs(200, seed=0)
    for name in PROTOCOLS:
        accuracies = protocols.k_fold(name, *drawn).accuracies
        assert accuracies.tolist() == evaluation.brute_force(name, drawn)
        assert 0.5 < np.mean(accuracies) < 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_pairs": 10}, "`num_pairs` must be an int >= 20. Received: num_pairs=10"),
        ({"num_probes": 79}, "`num_probes` must be an int >= 160. Received: num_probes=79"),
        ({"repeats": 0}, "`repeats` must be an int >= 1. Received: repeats=0"),
        ({"num_images": 0}, "`num_images` must be an int >= 1. Received: num_images=0"),
    ],
)
def test_an_evaluation_that_cannot_be_measured_is_refused(tmp_path, setting, message):
    config = EvaluateBenchmarkConfig(out=str(tmp_path / "x"), **setting)
    with pytest.raises(ValueError, match=message):
        evaluation.benchmark_evaluation(config)
    assert not (tmp_path / "x").exists()
