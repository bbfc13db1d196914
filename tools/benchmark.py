"""Measure heads, convergence, data, training, evaluation; `benchmark.py head --help` has the flags.

python tools/benchmark.py head --out runs/benchmark
python tools/benchmark.py convergence --out runs/convergence
python tools/benchmark.py data --out runs/data
python tools/benchmark.py train --out runs/train
python tools/benchmark.py evaluate --out runs/evaluate
"""

from keras_sphereface.commands.benchmark import run_benchmark
from keras_sphereface.config.benchmarks import BENCHMARK_CONFIGS
from keras_sphereface.config.parsing import parse_command

if __name__ == "__main__":
    _, config = parse_command(BENCHMARK_CONFIGS)
    run_benchmark(config)
