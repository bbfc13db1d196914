"""The command that runs a benchmark."""

from keras_sphereface.commands import benchmark
from keras_sphereface.config.benchmarks import BENCHMARK_CONFIGS, DataBenchmarkConfig


def test_every_benchmark_of_the_command_line_has_a_function():
    assert set(benchmark.BENCHMARKS) == set(BENCHMARK_CONFIGS.values())


def test_the_results_are_printed(monkeypatch, capsys):
    monkeypatch.setitem(benchmark.BENCHMARKS, DataBenchmarkConfig, lambda config: "results")
    benchmark.run_benchmark(DataBenchmarkConfig(out="folder"))
    assert capsys.readouterr().out == "results\nwritten to folder\n"
