"""3x3 convolutions on CPUs with 4 multiplications in place of 9, and their gradients.

The output is computed in tiles of 2 x 2 pixels, each from the 4 x 4 pixels d of the input around
it. For every pair of channels,

    Y = A^T [(G g G^T) * (B^T d B)] A                 output, g: kernel
    dg = G^T [(A dY A^T) * (B^T d B)] G               gradient by the kernel
    dd = as Y, of dY and the kernel turned by half    gradient by the input

with * entry by entry: 16 products of numbers, in place of 36. Over all tiles and channels, each of
the 16 is a matrix product. XLA compiles the sums before and after them, each into one pass.

Reference: Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", CVPR 2016: F(2 x 2, 3 x 3).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_sphereface.utils.xla import compiled_by_xla

# The matrices of Lavin and Gray, section 4.1.
INPUT_TRANSFORM = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))  # B^T
KERNEL_TRANSFORM = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))  # G
OUTPUT_TRANSFORM = ((1, 1, 1, 0), (0, 1, -1, -1))  # A^T
# G of both sides: 9 entries of a kernel -> its 16 factors.
KERNEL_FACTORS = np.kron(KERNEL_TRANSFORM, KERNEL_TRANSFORM).astype(np.float32)

_Matrix = Sequence[Sequence[float]]
_Tiles = list[tf.Tensor]


def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return the 3x3 convolution of stride 1 and padding "same": (B, H, W, C) -> (B, H, W, K).

    It can be differentiated once. Outputs and gradients differ from those of `tf.nn.conv2d` by
    rounding, and from float64 by less than 1e-6 of the largest number.

    Args:
        inputs: Float32 (B, H, W, C). H, W, C must be known; B may be any number.
        kernel: Float32 (3, 3, C, K).
    """
    # A gradient of one's own takes no variables among its arguments.
    return _convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turned = tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))
        return _output(upstream, turned), kernel_gradient(inputs, upstream)

    return _output(inputs, kernel), gradients


def _output(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    _, height, width, channels = inputs.shape
    factors = tf.reshape(tf.matmul(KERNEL_FACTORS, tf.reshape(kernel, (9, -1))), (16, channels, -1))
    products = [
        tf.reshape(tf.matmul(_rows(tile), factor), (-1, *tile.shape[1:3], factor.shape[-1]))
        for tile, factor in zip(_input_tiles(inputs), tf.unstack(factors), strict=True)
    ]
    return _pixels(products)[:, :height, :width]


def kernel_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Return the gradient of `convolve` by its kernel, (3, 3, C, K).

    Args:
        inputs: Float32 (B, H, W, C).
        upstream: Float32 (B, H, W, K). Gradient by the output.
    """
    products = [
        tf.matmul(_rows(tile), _rows(gradient), transpose_a=True)  # (C, K)
        for tile, gradient in zip(_input_tiles(inputs), _gradient_tiles(upstream), strict=True)
    ]
    gradient = tf.matmul(KERNEL_FACTORS.T, tf.reshape(tf.stack(products), (16, -1)))
    return tf.reshape(gradient, (3, 3, inputs.shape[-1], upstream.shape[-1]))


@compiled_by_xla
def _input_tiles(inputs: tf.Tensor) -> _Tiles:
    """B^T d B: (B, H, W, C) -> 16 x (B, H/2, W/2, C)."""
    return _both_sides(INPUT_TRANSFORM, _pixels_of_tiles(inputs, size=4))


@compiled_by_xla
def _gradient_tiles(upstream: tf.Tensor) -> _Tiles:
    """A dY A^T: (B, H, W, K) -> 16 x (B, H/2, W/2, K)."""
    return _both_sides(
        list(zip(*OUTPUT_TRANSFORM, strict=True)), _pixels_of_tiles(upstream, size=2)
    )


@compiled_by_xla
def _pixels(products: _Tiles) -> tf.Tensor:
    """A^T M A: 16 x (B, H/2, W/2, K) -> (B, H, W, K), both even."""
    pixels = _both_sides(OUTPUT_TRANSFORM, [products[4 * i : 4 * i + 4] for i in range(4)])
    rows = [tf.stack(pixels[2 * i : 2 * i + 2], axis=3) for i in range(2)]
    _, rows_of_tiles, tiles_of_row, channels = products[0].shape
    shape = (-1, 2 * rows_of_tiles, 2 * tiles_of_row, channels)
    return tf.reshape(tf.stack(rows, axis=2), shape)


def _rows(tiles: tf.Tensor) -> tf.Tensor:
    """(..., C) -> (N, C)."""
    return tf.reshape(tiles, (-1, tiles.shape[-1]))


def _pixels_of_tiles(images: tf.Tensor, size: int) -> list[list[tf.Tensor]]:
    """(B, H, W, C) -> pixel (i, j) of all tiles at [i][j], (B, H/2, W/2, C), with zeros around.

    Args:
        images: Float32 (B, H, W, C).
        size: Int. Rows and columns of a tile: 4, with a border of one pixel, or 2, without.
    """
    border = (size - 2) // 2
    tiles = [-(-length // 2) for length in images.shape[1:3]]
    paddings = [
        (border, border + 2 * n - length)
        for n, length in zip(tiles, images.shape[1:3], strict=True)
    ]
    padded = tf.pad(images, [(0, 0), *paddings, (0, 0)])
    rows, columns = ([slice(i, i + 2 * n - 1, 2) for i in range(size)] for n in tiles)
    return [[padded[:, row, column] for column in columns] for row in rows]


def _both_sides(matrix: _Matrix, parts: list[list[tf.Tensor]]) -> _Tiles:
    """matrix @ parts @ matrix^T, row after row."""
    columns = [[_combination(row, column) for column in zip(*parts, strict=True)] for row in matrix]
    return [_combination(row, line) for line in columns for row in matrix]


def _combination(factors: Sequence[float], parts: Sequence[tf.Tensor]) -> tf.Tensor:
    terms = [factor * part for factor, part in zip(factors, parts, strict=True) if factor]
    return sum(terms[1:], start=terms[0])
