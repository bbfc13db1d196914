"""The benchmark of convergence."""

import pandas as pd
import pytest

from keras_sphereface.benchmarks import convergence
from keras_sphereface.config import ConvergenceBenchmarkConfig


@pytest.mark.full
def test_runs_are_compared_with_m_1(tmp_path, monkeypatch):
    monkeypatch.setattr(convergence, "NETWORKS", ((4, 3, 0),))
    monkeypatch.setattr(convergence, "IMAGES_PER_IDENTITY", 4)
    sizes = {"num_networks": 1, "m": (4,), "total_steps": 5, "width": 0.1, "batch_size": 4}
    config = ConvergenceBenchmarkConfig(out=str(tmp_path), workers=2, **sizes)
    text = convergence.benchmark_convergence(config)
    table = pd.read_csv(tmp_path / "convergence.csv")
    assert table[["layers", "num_identities", "m"]].to_numpy().tolist() == [[4, 3, 1], [4, 3, 4]]
    assert table["converged"][0]  # m = 1 equals itself
    assert (tmp_path / "convergence.md").read_text(encoding="utf-8") == text


def test_the_report_counts_the_runs_that_reach_m_1():
    table = pd.DataFrame(
        {
            **{"layers": 4, "num_identities": 3, "seed": 0, "m": [4, 1, 2]},
            **{"accuracy": [0.9, 1.0, 0.99], "annealing_lambda": 5.0},
            "converged": [False, True, True],
        }
    )
    text = convergence.describe_convergence(table, total_steps=7)
    assert text.startswith(
        "1 of 2 runs reach the training accuracy of m = 1 less 2 points (7 steps"
    )
    assert "| layers | identities | seed | m = 1 | m = 2 | m = 4 |" in text
    assert "| 4 | 3 | 0 | 100.0 % | 99.0 % | 90.0 % |" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"total_steps": 4}, "`total_steps` must be an int >= 5. Received: total_steps=4"),
        (
            {"num_networks": 6},
            "`num_networks` must be from 1 to 5. Received: num_networks=6",
        ),
        ({"workers": 0}, "`workers` must be an int >= 1. Received: workers=0"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, settings, message):
    config = ConvergenceBenchmarkConfig(out=str(tmp_path / "x"), **settings)
    with pytest.raises(ValueError, match=message):
        convergence.benchmark_convergence(config)
    assert not (tmp_path / "x").exists()
