"""Time from the start of `sphereface train` to the end of its first step; see --help."""

from keras_sphereface.benchmarks.start import benchmark_start

if __name__ == "__main__":
    benchmark_start()
