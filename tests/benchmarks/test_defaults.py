"""The benchmark of the defaults."""

import pandas as pd
import pytest

from keras_sphereface.benchmarks import defaults
from keras_sphereface.config import DefaultsBenchmarkConfig


@pytest.mark.slow
def test_every_network_batch_and_seed_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "NUM_IDENTITIES", 3)
    monkeypatch.setattr(defaults, "IMAGES_PER_IDENTITY", 4)
    sizes = {"layers": (4,), "batch_sizes": (4, 6), "num_seeds": 1, "total_steps": 7}
    sizes |= {"width": 0.05, "embedding_size": 8, "shrink": 8}
    text = defaults.benchmark_defaults(DefaultsBenchmarkConfig(out=str(tmp_path), **sizes))
    table = pd.read_csv(tmp_path / "defaults.csv")
    assert table[["layers", "batch_size", "steps"]].to_numpy().tolist() == [[4, 4, 7], [4, 6, 7]]
    # gamma makes lambda 5 by 4/7 of the steps.
    assert table["last_lambda"].tolist() == [5.0, 5.0]
    assert not table["diverged"].any()
    assert text == (tmp_path / "defaults.md").read_text(encoding="utf-8")


def test_the_report_counts_what_diverged_and_what_reached_the_lowest_lambda():
    row = {"layers": 4, "batch_size": 16, "steps": 9, "lambda_min": 5.0}
    table = pd.DataFrame(
        [
            {**row, "diverged": False, "last_lambda": 5.0, "loss": 1.0, "accuracy": 0.75},
            {**row, "diverged": False, "last_lambda": 7.0, "loss": 3.0, "accuracy": 0.25},
            {**row, "diverged": True, "last_lambda": 90.0, "loss": float("nan"), "accuracy": 0.2},
        ]
    )
    text = defaults.describe_defaults(table, uninformative_loss=4.0943)
    assert text.startswith("1 of 3 runs of 9 steps diverged.")
    assert "ln C = 4.09" in text
    assert "| 4 | 16 | 1 of 3 | 1 of 3 | 2.00 | 3.00 | 40 % |" in text


def test_bad_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: shrink=0"):
        defaults.benchmark_defaults(DefaultsBenchmarkConfig(out=str(tmp_path), shrink=0))
