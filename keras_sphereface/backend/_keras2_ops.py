"""The part of `keras.ops` that this package uses, for Keras 2.15, which runs on TensorFlow only.

Names, arguments and results are those of Keras 3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Axis = int | Sequence[int] | None

arccos = tf.acos
broadcast_to = tf.broadcast_to
convert_to_tensor = tf.convert_to_tensor
cos = tf.cos
custom_gradient = tf.custom_gradient
divide_no_nan = tf.math.divide_no_nan
exp = tf.exp
expand_dims = tf.expand_dims
isnan = tf.math.is_nan
log = tf.math.log
matmul = tf.matmul
maximum = tf.maximum
minimum = tf.minimum
mod = tf.math.floormod
ones_like = tf.ones_like
reshape = tf.reshape
round = tf.round
sin = tf.sin
softplus = tf.nn.softplus
sqrt = tf.sqrt
square = tf.square
stack = tf.stack
stop_gradient = tf.stop_gradient
transpose = tf.transpose
where = tf.where
zeros_like = tf.zeros_like


def all(x: tf.Tensor, axis: Axis = None) -> tf.Tensor:
    return tf.reduce_all(x, axis=axis)


def any(x: tf.Tensor, axis: Axis = None) -> tf.Tensor:
    return tf.reduce_any(x, axis=axis)


def arange(stop: int | tf.Tensor, dtype: str = "int32") -> tf.Tensor:
    return tf.range(tf.cast(stop, dtype))


def argmax(x: tf.Tensor, axis: int) -> tf.Tensor:
    return tf.argmax(x, axis=axis, output_type=tf.int32)


def cast(x: Any, dtype: str) -> tf.Tensor:
    return tf.cast(x, dtype)


def clip(x: tf.Tensor, x_min: Any, x_max: Any) -> tf.Tensor:
    return tf.clip_by_value(x, x_min, x_max)


def concatenate(xs: Sequence[tf.Tensor], axis: int = 0) -> tf.Tensor:
    return tf.concat(xs, axis)


def convert_to_numpy(x: tf.Tensor) -> np.ndarray:
    return np.asarray(x)


def eye(size: int | tf.Tensor, dtype: str = "float32") -> tf.Tensor:
    return tf.eye(size, dtype=dtype)


def full(shape: Sequence[Any], fill_value: Any, dtype: str) -> tf.Tensor:
    return tf.fill(shape, tf.cast(fill_value, dtype))


def max(x: tf.Tensor, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    return tf.reduce_max(x, axis=axis, keepdims=keepdims)


def mean(x: tf.Tensor, axis: Axis = None) -> tf.Tensor:
    return tf.reduce_mean(x, axis=axis)


def min(x: tf.Tensor, axis: Axis = None) -> tf.Tensor:
    return tf.reduce_min(x, axis=axis)


def ones(shape: Sequence[Any], dtype: str = "float32") -> tf.Tensor:
    return tf.ones(shape, dtype)


def pad(x: tf.Tensor, pad_width: Sequence[Sequence[Any]]) -> tf.Tensor:
    return tf.pad(x, pad_width)


def power(x: Any, y: Any) -> tf.Tensor:
    return tf.pow(x, y)


def segment_sum(data: tf.Tensor, segment_ids: tf.Tensor, num_segments: Any) -> tf.Tensor:
    return tf.math.unsorted_segment_sum(data, segment_ids, num_segments)


def scatter_update(inputs: tf.Tensor, indices: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_update(inputs, indices, updates)


def shape(x: tf.Tensor) -> tuple[Any, ...]:
    """Sizes as numbers where they are known, else as tensors."""
    sizes = list(x.shape)
    return tuple(tf.shape(x)[i] if size is None else size for i, size in enumerate(sizes))


def sort(x: tf.Tensor, axis: int = -1) -> tf.Tensor:
    return tf.sort(x, axis=axis)


def sum(x: tf.Tensor, axis: Axis = None, keepdims: bool = False) -> tf.Tensor:
    return tf.reduce_sum(x, axis=axis, keepdims=keepdims)


def take(x: tf.Tensor, indices: tf.Tensor, axis: int = 0) -> tf.Tensor:
    return tf.gather(x, indices, axis=axis)


def take_along_axis(x: tf.Tensor, indices: tf.Tensor, axis: int) -> tf.Tensor:
    """Of matrices along their last axis."""
    del axis
    return tf.gather(x, indices, batch_dims=1)


def top_k(x: tf.Tensor, k: int | tf.Tensor, sorted: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.top_k(x, k, sorted=sorted)


def zeros(shape: Sequence[Any], dtype: str = "float32") -> tf.Tensor:
    return tf.zeros(shape, dtype)
