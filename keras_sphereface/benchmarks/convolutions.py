"""Benchmark of the convolutions of SphereFace-20: forward, and the two gradients, by stage.

    TF_ENABLE_ONEDNN_OPTS=1 python tools/bench_convolutions.py

One residual convolution of each stage, whose 16 take nine tenths of the multiplications of a step.
The ratio is that of all three of TensorFlow to those of `training.winograd`, whose gradient by the
input is a convolution like the forward one, in the same round.
"""

import argparse
import time
from collections.abc import Callable

import pandas as pd
import tensorflow as tf

from keras_sphereface.benchmarks.interleaved import interleaved_seconds, quartiles
from keras_sphereface.reporting.markdown import markdown_table
from keras_sphereface.training.winograd import convolve, kernel_gradient
from keras_sphereface.utils.environment import machine

# Height, width and channels of the feature maps of each stage.
MAPS = ((56, 48, 64), (28, 24, 128), (14, 12, 256), (7, 6, 512))
FORWARD, BY_INPUT, BY_KERNEL = "forward", "by the input", "by the kernel"
FAST_FORWARD, FAST_BY_KERNEL = "forward, fast", "by the kernel, fast"
PRODUCT, PRODUCT_SIZE = "matrix product", 2048


def benchmark_convolutions() -> None:
    """Parse the command line, measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cases = {
        f"{size} {name}": _timed(function)
        for size in MAPS
        for name, function in _operations(arguments.batch_size, size, arguments.seed).items()
    }
    square = tf.random.stateless_normal([PRODUCT_SIZE] * 2, [arguments.seed, 0])
    cases[PRODUCT] = _timed(lambda: square @ square)
    seconds = interleaved_seconds(cases, arguments.rounds, arguments.seed)
    print(f"Machine: {machine()}; {arguments.rounds} interleaved rounds; GFLOP/s.\n")
    print(describe_convolutions(seconds, arguments.batch_size))


def describe_convolutions(seconds: pd.DataFrame, batch_size: int) -> str:
    """Return the speeds of all cases as Markdown.

    Args:
        seconds: Of `interleaved_seconds`.
        batch_size: Int. Images of a convolution.
    """
    rows = []
    for height, width, channels in MAPS:
        size = (height, width, channels)
        work = 2 * batch_size * height * width * 9 * channels**2
        speeds = [
            f"{work / seconds[f'{size} {name}'].median() / 1e9:.0f}"
            for name in (FORWARD, BY_INPUT, BY_KERNEL, FAST_FORWARD, FAST_BY_KERNEL)
        ]
        usual = sum(seconds[f"{size} {name}"] for name in (FORWARD, BY_INPUT, BY_KERNEL))
        fast = 2 * seconds[f"{size} {FAST_FORWARD}"] + seconds[f"{size} {FAST_BY_KERNEL}"]
        low, middle, high = quartiles(usual / fast)
        maps = f"{height} x {width} x {channels}"
        rows.append([maps, *speeds, f"{middle:.2f} ({low:.2f} to {high:.2f})"])
    peak = 2 * PRODUCT_SIZE**3 / seconds[PRODUCT].median() / 1e9
    gradients = [f"gradient {BY_INPUT}", f"gradient {BY_KERNEL}"]
    header = ["feature maps", FORWARD, *gradients, FAST_FORWARD, FAST_BY_KERNEL, "ratio"]
    return (
        markdown_table(header, rows)
        + f"\nA {PRODUCT} of {PRODUCT_SIZE:,} x {PRODUCT_SIZE:,} numbers: {peak:.0f} GFLOP/s.\n"
    )


def _operations(
    batch_size: int, size: tuple[int, int, int], seed: int
) -> dict[str, Callable[[], tf.Tensor]]:
    """The convolution and its gradients, on numbers in memory."""
    shape, channels = (batch_size, *size), size[-1]
    x, upstream = (tf.random.stateless_normal(shape, [seed, i]) for i in (1, 2))
    kernel = 0.05 * tf.random.stateless_normal((3, 3, channels, channels), [seed, 3])
    arguments = {"out_backprop": upstream, "strides": [1, 1, 1, 1], "padding": "SAME"}
    return {
        FORWARD: lambda: tf.nn.conv2d(x, kernel, 1, "SAME"),
        BY_INPUT: lambda: tf.raw_ops.Conv2DBackpropInput(
            input_sizes=shape, filter=kernel, **arguments
        ),
        BY_KERNEL: lambda: tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=kernel.shape, **arguments
        ),
        FAST_FORWARD: lambda: convolve(x, kernel),
        FAST_BY_KERNEL: lambda: kernel_gradient(x, upstream),
    }


def _timed(function: Callable[[], tf.Tensor]) -> Callable[[], float]:
    """A function that returns the seconds of a call, compiled."""
    compiled = tf.function(function)

    def run() -> float:
        start = time.perf_counter()
        compiled().numpy()
        return time.perf_counter() - start

    return run
