"""Measure heads, convergence, data, training, evaluation; `benchmark.py head --help` has the flags.

python tools/benchmark.py head --out runs/benchmark
python tools/benchmark.py convergence --out runs/convergence
python tools/benchmark.py data --out runs/data
python tools/benchmark.py train --out runs/train
python tools/benchmark.py evaluate --out runs/evaluate
"""

from keras_sphereface.commands.benchmark import main

if __name__ == "__main__":
    main()
