"""What `keras.ops` lacks, on JAX; see `keras_sphereface.backend.tensorflow`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from keras import ops


def matmul(
    a: jax.Array, b: jax.Array, transpose_a: bool = False, transpose_b: bool = False
) -> jax.Array:
    """Return the product of two matrices, transposed as told without a copy of them."""
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


def value_of(weight: Any) -> jax.Array:
    """Return the present value of a weight of Keras."""
    return ops.convert_to_tensor(weight)


def alias(tensor: jax.Array) -> jax.Array:
    """Return the same values as another tensor object."""
    return jnp.array(tensor, copy=True)


def pick(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Return one entry of each row: (B, C) and (B,) -> (B,)."""
    return jnp.take_along_axis(rows, columns[:, None], axis=1)[:, 0]


def put(
    rows: jax.Array, columns: jax.Array, values: jax.Array, overwrite: bool = False
) -> jax.Array:
    """Return `rows` (B, C) with `values` (B,) at one column (B,) of each row."""
    del overwrite
    # A comparison, not a scatter: XLA fuses it with what comes before and after.
    at = jnp.arange(rows.shape[1], dtype=columns.dtype)[None, :] == columns[:, None]
    return jnp.where(at, values[:, None], rows)


def scale_in_place(rows: jax.Array, factors: jax.Array) -> jax.Array:
    """Return rows * factors."""
    return rows * factors


def exp_in_place(rows: jax.Array, shift: jax.Array) -> jax.Array:
    """Return exp(rows - shift)."""
    return jnp.exp(rows - shift)


def product_into(used: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Return a * b."""
    del used
    return a * b


def subtract_product_in_place(rows: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Return rows - a * b."""
    return rows - a * b


def column_norms(kernel: jax.Array) -> jax.Array:
    """Return the Euclidean norm of each column: (D, C) -> (C,)."""
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=0))


def search_rows(sorted_rows: jax.Array, values: jax.Array, side: str) -> jax.Array:
    """`searchsorted` in each row: (B, N) and (B, K) -> (B, K), int32."""
    search = jax.vmap(lambda row, keys: jnp.searchsorted(row, keys, side=side))
    return search(sorted_rows, values).astype("int32")


def uniform(size: int, seed: Sequence[Any]) -> jax.Array:
    """Return (size,) float32 numbers in [0, 1), which follow from a seed of two whole numbers."""
    first, second = (jnp.asarray(s, "uint32") for s in seed)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), first), second)
    return jax.random.uniform(key, (size,), "float32")


def vector_jacobian(
    function: Callable[..., jax.Array], inputs: Sequence[jax.Array], upstream: jax.Array
) -> tuple[jax.Array, ...]:
    """Return the gradients of sum(upstream * function(*inputs)) by the inputs."""
    value, pullback = jax.vjp(function, *inputs)
    return pullback(jnp.broadcast_to(upstream, value.shape))


def refuse_gradient(tensor: jax.Array, error: Exception) -> jax.Array:
    """Return the tensor; a gradient that goes through it raises `error` where it is traced."""

    @jax.custom_vjp
    def identity(tensor: jax.Array) -> jax.Array:
        return tensor

    def backward(_: None, upstream: Any) -> tuple:
        # A result that nothing uses has the symbol of zero, and no gradient goes through it.
        if isinstance(upstream, jax.custom_derivatives.SymbolicZero):
            return (None,)
        raise error

    # JAX wraps what it differentiates, here, so that zeros can be told.
    identity.defvjp(lambda wrapped: (wrapped.value, None), backward, symbolic_zeros=True)
    return identity(tensor)


def require(
    condition: jax.Array, message: str, values: Sequence[Any], then: jax.Array
) -> jax.Array:
    """Return `then`; outside of compiled functions raise a ValueError unless all conditions hold.

    A compiled function cannot raise.
    """
    if not isinstance(condition, jax.core.Tracer) and not bool(jnp.all(condition)):
        raise ValueError(" ".join([message, *(str(jnp.asarray(value)) for value in values)]))
    return then


def never(tensor: jax.Array, message: str, received: jax.Array) -> jax.Array:
    """Return the tensor; a ValueError, or in a compiled function one when it is differentiated."""
    error = ValueError(f"{message} Received: {received!r}")
    if not isinstance(received, jax.core.Tracer):
        raise error
    return refuse_gradient(tensor, error)


def in_order(tensors: Sequence[jax.Array]) -> contextlib.AbstractContextManager:
    """Nothing: XLA orders a program by the memory that it takes."""
    return contextlib.nullcontext()


def compiled(
    function: Callable[[jax.Array], jax.Array], dtype: str
) -> Callable[[jax.Array], jax.Array]:
    """Return a function of a vector compiled, once for each length."""
    return jax.jit(function)


# In place of those of `keras.ops`, which compute float64 in float32 on this backend.
KEEPING_FLOAT64 = {"arccos": jnp.arccos, "cos": jnp.cos, "mean": jnp.mean, "sin": jnp.sin}
