"""Time the heads beside Dense on the backend that KERAS_BACKEND names; see --help."""

from keras_sphereface.benchmarks.backends import benchmark_backend

if __name__ == "__main__":
    benchmark_backend()
