"""The command that runs a benchmark."""

import pytest

from keras_sphereface.commands import benchmark
from keras_sphereface.config.benchmarks import BENCHMARK_CONFIGS, DataBenchmarkConfig


def test_every_benchmark_of_the_command_line_has_a_function():
    assert set(benchmark.BENCHMARKS) == set(BENCHMARK_CONFIGS.values())


def test_the_results_are_printed(monkeypatch, capsys):
    monkeypatch.setitem(benchmark.BENCHMARKS, DataBenchmarkConfig, lambda config: "results")
    benchmark.run_benchmark(DataBenchmarkConfig(out="folder"))
    assert capsys.readouterr().out == "results\nwritten to folder\n"


def test_an_error_that_a_user_can_mend_is_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r"error: .*Received: num_images=0"):
        benchmark.run_benchmark(DataBenchmarkConfig(out=str(tmp_path / "x"), num_images=0))
