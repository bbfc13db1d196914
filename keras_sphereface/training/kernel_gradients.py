"""Gradients of 3x3 convolutions by their kernels on CPUs, with fewer multiplications.

A convolution's gradient by its kernel is the slowest third of a step on a CPU: oneDNN computes it
at half the speed of the other two. Here it is made of matrix products. With many channels it is a
minimal filtering algorithm: 2 x 2 pixels of the output together take 16 products of channels
instead of 36.

Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: F(2 x 2,
3 x 3), whose transposed form this is.
"""

import keras
import numpy as np
import tensorflow as tf

FEWEST_CHANNELS = 64
# With fewer channels the sums and differences take longer than the products that they save.
FEWEST_CHANNELS_IN_TILES = 128
# Of the paper, but for the sign of the last row, which `_gradient_tiles` leaves out.
KERNEL_TRANSFORM = np.array(
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, -1.0]], np.float32
)


def use_fast_kernel_gradients(network: keras.Model) -> list[keras.layers.Layer]:
    """Let the large 3x3 convolutions of a network compute kernel gradients with fewer products.

    What the network computes, its weights and its files stay as they are. Gradients differ from
    those of TensorFlow by rounding: less than 1e-6 of the largest number of a kernel's gradient.

    Args:
        network: Any Keras model.

    Returns:
        The layers that do so now: float32 convolutions of stride 1 and padding "same" with at least
        `FEWEST_CHANNELS` channels on both sides.

    Example:
        >>> from keras_sphereface.models import sphereface4, sphereface20
        >>> len(use_fast_kernel_gradients(sphereface20())), use_fast_kernel_gradients(sphereface4())
        (16, [])
    """
    layers = [layer for layer in network._flatten_layers() if _is_large(layer)]
    for layer in layers:
        layer.convolution_op = convolve
    return layers


def _is_large(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.built
        and tuple(layer.kernel_size) == (3, 3)
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
        and (layer.padding, layer.groups, layer.data_format) == ("same", 1, "channels_last")
        and layer.compute_dtype == "float32"
        and min(layer.kernel.shape[2:]) >= FEWEST_CHANNELS
    )


def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return the 3x3 convolution of stride 1 and padding "same": (B, H, W, C) -> (B, H, W, K).

    Args:
        inputs: Float32 (B, H, W, C).
        kernel: Float32 (3, 3, C, K).
    """
    # A gradient of one's own takes no variables among its arguments.
    return _convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


@tf.custom_gradient
def _convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        by_inputs = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(inputs),
            filter=kernel,
            out_backprop=upstream,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )
        return by_inputs, kernel_gradient(inputs, upstream)

    return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradients


def kernel_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Return the gradient of `convolve` by its kernel, (3, 3, C, K).

    Args:
        inputs: Float32 (B, H, W, C).
        upstream: Float32 (B, H, W, K). Gradient by the output.
    """
    channels, outputs = inputs.shape[-1], upstream.shape[-1]
    is_large = min(channels, outputs) >= FEWEST_CHANNELS_IN_TILES
    gradient = gradient_in_tiles if is_large else gradient_by_rows
    return tf.reshape(gradient(inputs, upstream), (3, 3, channels, outputs))


def gradient_by_rows(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Return `kernel_gradient` by three products, one for each row of the kernel: (3, 3 C, K)."""
    width = inputs.shape[2]
    padded = tf.pad(inputs, [(0, 0), (0, 1), (1, 1), (0, 0)])
    # The three columns of the kernel side by side, and a row of zeros below every image: one pixel
    # down in the images is `width` rows down in the matrix.
    columns = _rows(tf.concat([padded[:, :, j : j + width] for j in range(3)], axis=-1))
    upstream = _rows(tf.pad(upstream, [(0, 0), (0, 1), (0, 0), (0, 0)]))
    pairs = [
        (columns[:-width], upstream[width:]),
        (columns, upstream),
        (columns[width:], upstream[:-width]),
    ]
    return tf.stack([tf.matmul(x, gradient, transpose_a=True) for x, gradient in pairs])


def gradient_in_tiles(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Return `kernel_gradient` by the transposed F(2 x 2, 3 x 3): (9, C K)."""
    products = [
        tf.matmul(_rows(tile), _rows(gradient), transpose_a=True)  # (C, K)
        for tile, gradient in zip(_input_tiles(inputs), _gradient_tiles(upstream), strict=True)
    ]
    transform = np.einsum("ki,lj->ijkl", KERNEL_TRANSFORM, KERNEL_TRANSFORM).reshape(9, 16)
    return tf.matmul(transform, tf.reshape(tf.stack(products), (16, -1)))


def _input_tiles(inputs: tf.Tensor) -> list[tf.Tensor]:
    """(B, H, W, C) -> the 16 numbers of each 4 x 4 tile, transformed: (H/2, W/2, B, C) each."""
    pixels = _pixels_of_pairs(inputs, before=1)
    rows = [_differences(pixels[0][j], pixels[1][j], axis=0) for j in range(2)]
    return [tile for even, odd in zip(*rows, strict=True) for tile in _differences(even, odd, 1)]


def _differences(even: tf.Tensor, odd: tf.Tensor, axis: int) -> list[tf.Tensor]:
    """The four sums along an axis of pixels 2t, 2t + 1, 2t + 2 and 2t + 3, for every t."""
    length = even.shape[axis] - 1
    first, third = (_slice(even, axis, start, length) for start in (0, 1))
    second, fourth = (_slice(odd, axis, start, length) for start in (0, 1))
    return [first - third, second + third, third - second, second - fourth]


def _gradient_tiles(upstream: tf.Tensor) -> list[tf.Tensor]:
    """(B, H, W, K) -> the same of the 2 x 2 tiles of the gradient."""
    pixels = _pixels_of_pairs(upstream, before=0)
    rows = [_sums(pixels[0][j], pixels[1][j]) for j in range(2)]
    return [tile for even, odd in zip(*rows, strict=True) for tile in _sums(even, odd)]


def _sums(even: tf.Tensor, odd: tf.Tensor) -> list[tf.Tensor]:
    return [even, even + odd, even - odd, odd]


def _pixels_of_pairs(images: tf.Tensor, before: int) -> list[list[tf.Tensor]]:
    """(B, H, W, C) -> pixels (2 r + i, 2 s + j) of all r and s at [i][j]: (rows, columns, B, C).

    Args:
        images: Float32 (B, H, W, C).
        before: Int. Pixels of zeros in front of the first row and the first column.
    """
    _, height, width, channels = images.shape
    rows, columns = (-(-size // 2) + before for size in (height, width))
    paddings = [(before, 2 * n - size - before) for n, size in ((rows, height), (columns, width))]
    images = tf.pad(images, [(0, 0), *paddings, (0, 0)])
    pairs = tf.reshape(images, (-1, rows, 2, columns, 2, channels))
    # Rows first, then columns: slices of the first axis are not copied.
    pixels = tf.transpose(pairs, (2, 4, 1, 3, 0, 5))
    return [[pixels[i, j] for j in range(2)] for i in range(2)]


def _slice(values: tf.Tensor, axis: int, start: int, length: int) -> tf.Tensor:
    return values[start : start + length] if axis == 0 else values[:, start : start + length]


def _rows(tiles: tf.Tensor) -> tf.Tensor:
    """(..., C) -> (N, C)."""
    return tf.reshape(tiles, (-1, tiles.shape[-1]))
