"""What `keras.ops` lacks, on TensorFlow; the other backends have the same functions."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def matmul(
    a: tf.Tensor, b: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False
) -> tf.Tensor:
    """Return the product of two matrices, transposed as told without a copy of them."""
    return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def value_of(weight: Any) -> tf.Tensor:
    """Return the present value of a weight of Keras."""
    return tf.convert_to_tensor(weight)


def alias(tensor: tf.Tensor) -> tf.Tensor:
    """Return the same values as another tensor object."""
    return tf.identity(tensor)


def pick(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return one entry of each row: (B, C) and (B,) -> (B,)."""
    return tf.gather_nd(rows, _indices(columns))


def put(
    rows: tf.Tensor, columns: tf.Tensor, values: tf.Tensor, overwrite: bool = False
) -> tf.Tensor:
    """Return `rows` (B, C) with `values` (B,) at one column (B,) of each row.

    With `overwrite` `rows` itself may be changed, here and in the functions below in place: memory
    that no one needs any more is used again where the backend does not see to that itself.
    """
    del overwrite
    return tf.tensor_scatter_nd_update(rows, _indices(columns), values)


def scale_in_place(rows: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Return rows * factors."""
    return rows * factors


def exp_in_place(rows: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Return exp(rows - shift)."""
    return tf.exp(rows - shift)


def product_into(used: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return a * b, of the shape of `used`, whose memory may be used."""
    del used
    return a * b


def subtract_product_in_place(rows: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return rows - a * b."""
    return rows - a * b


def column_norms(kernel: tf.Tensor) -> tf.Tensor:
    """Return the Euclidean norm of each column: (D, C) -> (C,)."""
    return tf.sqrt(tf.reduce_sum(tf.square(kernel), axis=0))


def _indices(columns: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.range(tf.shape(columns)[0], dtype=columns.dtype), columns], axis=1)


def search_rows(sorted_rows: tf.Tensor, values: tf.Tensor, side: str) -> tf.Tensor:
    """`searchsorted` in each row: (B, N) and (B, K) -> (B, K), int32."""
    return tf.searchsorted(sorted_rows, values, side=side)


def uniform(size: int, seed: Sequence[Any]) -> tf.Tensor:
    """Return (size,) float32 numbers in [0, 1), which follow from a seed of two whole numbers."""
    return tf.random.stateless_uniform([size], tf.stack([tf.cast(s, tf.int32) for s in seed]))


def vector_jacobian(
    function: Callable[..., tf.Tensor], inputs: Sequence[tf.Tensor], upstream: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Return the gradients of sum(upstream * function(*inputs)) by the inputs."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return tuple(tape.gradient(value, list(inputs), output_gradients=upstream))


def refuse_gradient(tensor: tf.Tensor, error: Exception) -> tf.Tensor:
    """Return the tensor; a gradient that goes through it raises `error` where it is traced."""

    @tf.custom_gradient
    def identity(tensor: tf.Tensor) -> tuple:
        def gradient(*_: tf.Tensor) -> tf.Tensor:
            raise error

        return tf.identity(tensor), gradient

    return identity(tensor)


def require(
    condition: tf.Tensor, message: str, values: Sequence[Any], then: tf.Tensor
) -> tf.Tensor:
    """Return `then`; stop the program with an InvalidArgumentError unless all conditions hold.

    XLA leaves assertions out: there `then` comes back all the same.
    """
    assertion = tf.debugging.Assert(tf.reduce_all(condition), [message, *values])
    # Run eagerly, an assertion has been made already and is None.
    with tf.control_dependencies([] if assertion is None else [assertion]):
        return tf.identity(then)


def never(tensor: tf.Tensor, message: str, received: tf.Tensor) -> tf.Tensor:
    """Return the tensor; a ValueError, or in a compiled function an error when it is computed."""
    if tf.executing_eagerly():
        raise ValueError(f"{message} Received: {received!r}")
    assertion = tf.debugging.Assert(False, [message, "Received:", received])
    with tf.control_dependencies([assertion]):
        return tf.identity(tensor)


def in_order(tensors: Sequence[tf.Tensor]) -> contextlib.AbstractContextManager:
    """Compute what the block makes after `tensors`: side by side they would all be in memory."""
    return tf.control_dependencies(list(tensors))


def compiled(
    function: Callable[[tf.Tensor], tf.Tensor], dtype: str
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function of a vector compiled, once for all lengths."""
    spec = tf.TensorSpec((None,), dtype)
    return tf.function(function, input_signature=[spec], autograph=False)


# In place of those of `keras.ops`, which keep float64 on this backend.
KEEPING_FLOAT64: dict[str, Callable] = {}
