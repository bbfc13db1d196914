"""`tools/benchmark.py`: run a benchmark and print its results."""

from collections.abc import Callable, Sequence
from typing import Any

from keras_sphereface.benchmarks.convergence import benchmark_convergence
from keras_sphereface.benchmarks.data import benchmark_data
from keras_sphereface.benchmarks.evaluation import benchmark_evaluation
from keras_sphereface.benchmarks.heads import benchmark_heads
from keras_sphereface.benchmarks.training import benchmark_training
from keras_sphereface.config import (
    ConvergenceBenchmarkConfig,
    DataBenchmarkConfig,
    EvaluateBenchmarkConfig,
    HeadBenchmarkConfig,
    TrainBenchmarkConfig,
)
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_command

BENCHMARKS: dict[str, tuple[type, Callable[[Any], str]]] = {
    "head": (HeadBenchmarkConfig, benchmark_heads),
    "convergence": (ConvergenceBenchmarkConfig, benchmark_convergence),
    "data": (DataBenchmarkConfig, benchmark_data),
    "train": (TrainBenchmarkConfig, benchmark_training),
    "evaluate": (EvaluateBenchmarkConfig, benchmark_evaluation),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse a command line, run the benchmark that it names, and print the results."""
    configs: dict[str, Any] = {name: config_class for name, (config_class, _) in BENCHMARKS.items()}
    command, config = parse_command(configs, argv)
    with errors_in_one_sentence():
        print(BENCHMARKS[command][1](config))
    print(f"written to {config.out}")
