"""`sphereface benchmark`: run a benchmark and print its results."""

from collections.abc import Callable
from typing import Any

from keras_sphereface.benchmarks.convergence import benchmark_convergence
from keras_sphereface.benchmarks.data import benchmark_data
from keras_sphereface.benchmarks.defaults import benchmark_defaults
from keras_sphereface.benchmarks.evaluation import benchmark_evaluation
from keras_sphereface.benchmarks.gallery import benchmark_gallery
from keras_sphereface.benchmarks.heads import benchmark_heads
from keras_sphereface.benchmarks.intervals import benchmark_intervals
from keras_sphereface.benchmarks.scaling import benchmark_scaling
from keras_sphereface.benchmarks.serving import benchmark_serving
from keras_sphereface.benchmarks.training import benchmark_training
from keras_sphereface.config import benchmarks

BENCHMARKS: dict[type, Callable[[Any], str]] = {
    benchmarks.HeadBenchmarkConfig: benchmark_heads,
    benchmarks.ConvergenceBenchmarkConfig: benchmark_convergence,
    benchmarks.DefaultsBenchmarkConfig: benchmark_defaults,
    benchmarks.DataBenchmarkConfig: benchmark_data,
    benchmarks.TrainBenchmarkConfig: benchmark_training,
    benchmarks.EvaluateBenchmarkConfig: benchmark_evaluation,
    benchmarks.IntervalsBenchmarkConfig: benchmark_intervals,
    benchmarks.GalleryBenchmarkConfig: benchmark_gallery,
    benchmarks.ServingBenchmarkConfig: benchmark_serving,
    benchmarks.ScalingBenchmarkConfig: benchmark_scaling,
}


def run_benchmark(config: Any) -> None:
    """Run the benchmark of a config, and print its results."""
    print(BENCHMARKS[type(config)](config))
    print(f"written to {config.out}")
