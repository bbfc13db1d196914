"""The simulation of intervals by identity."""

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.benchmarks import intervals
from keras_sphereface.benchmarks.intervals import PairDesign
from keras_sphereface.config import IntervalsBenchmarkConfig
from keras_sphereface.metrics import roc


def test_simulated_scores_have_the_known_truth():
    design = PairDesign("many", 4000, 200_000, 200_000)
    scores, pairs = intervals.draw_scores(design, np.random.default_rng(0))
    assert pairs.is_same.sum() == 200_000
    for kind in (pairs.is_same, ~pairs.is_same):
        assert scores[kind].std() == pytest.approx(1, abs=0.02)
    truth, curve = intervals.true_measures(), roc.roc_curve(scores, pairs.is_same)
    assert roc.auc_score(curve) == pytest.approx(truth["auc"], abs=0.002)
    assert roc.equal_error_rate(curve) == pytest.approx(truth["eer"], abs=0.003)
    for far in intervals.FARS:
        assert roc.tar_at_far(curve, float(far)) == pytest.approx(truth[far], abs=0.01)


def test_scores_of_one_identity_are_alike():
    design = PairDesign("few", 2000, 4000, 0)
    scores, pairs = intervals.draw_scores(design, np.random.default_rng(1))
    matched = pd.DataFrame({"i": pairs.first, "score": scores})[pairs.is_same]
    means = matched.groupby("i")["score"].mean()
    sizes = matched.groupby("i").size()
    # The share of the variance that identities have is MATCHED_EFFECT squared.
    expected = 0.36 + 0.64 / sizes[sizes == 2].iloc[0]
    assert means[sizes == 2].var() == pytest.approx(expected, rel=0.2)


def test_intervals_by_identity_hold_the_truth_where_those_by_pair_do_not():
    design = PairDesign("crowded", 100, 600, 600)
    table = intervals.coverage(design, 40, 100, np.random.default_rng(2)).set_index("measure")
    assert list(table.index) == ["accuracy", "auc", "eer", "0.1", "0.01"]
    # Of 200 intervals; the benchmark measures the shares themselves.
    assert table["by_identity"].mean() >= 0.90
    assert table["by_pair"].mean() <= table["by_identity"].mean() - 0.04
    assert (table["width_by_identity"] > 1.1 * table["width_by_pair"]).all()


def test_every_design_and_measure_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(intervals, "DESIGNS", (PairDesign("all", 20, 30, 0),))
    config = IntervalsBenchmarkConfig(out=str(tmp_path), num_sets=2, replicates=3)
    text = intervals.benchmark_intervals(config)
    table = pd.read_csv(tmp_path / "intervals.csv")
    assert table["measure"].tolist() == ["accuracy", "auc", "eer", "0.1", "0.01"]
    assert "| all | FNMR at FMR 0.01 |" in text
    assert text == (tmp_path / "intervals.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("setting", ["num_sets", "replicates"])
def test_bad_numbers_are_refused(tmp_path, setting):
    config = IntervalsBenchmarkConfig(out=str(tmp_path), **{setting: 0})
    with pytest.raises(ValueError, match=f"`{setting}`"):
        intervals.benchmark_intervals(config)
