"""Time the convolutions of SphereFace-20 and their gradients; see --help."""

from keras_sphereface.benchmarks.convolutions import benchmark_convolutions

if __name__ == "__main__":
    benchmark_convolutions()
