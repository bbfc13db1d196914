"""Time the training step beside the same step in PyTorch; see --help."""

from pathlib import Path

from keras_sphereface.benchmarks.pytorch import benchmark_pytorch

if __name__ == "__main__":
    benchmark_pytorch(Path(__file__).with_name("pytorch_step.py"))
