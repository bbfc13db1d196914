"""Tensors of every backend of Keras: `ops`, and the few operations that it lacks.

Heads, losses and their mathematics are written once, for TensorFlow, JAX and PyTorch. `ops` is
`keras.ops`, but that it keeps float64 on every backend; on Keras 2.15, which has none, it is a
stand-in with the same names. What `keras.ops` has on no backend, or only with a cost that was
measured, is written for each backend in a module of its own with the same functions: `tensorflow`,
`jax` and `torch`.
"""

import importlib
import types
from collections.abc import Callable
from typing import Any

import keras

# A tensor of the backend. Its operators + - * / // % < <= == & | ~ and its indexing are those of
# NumPy on every backend.
Tensor = Any

KERAS_3 = int(keras.__version__.split(".")[0]) >= 3
# "tensorflow", "jax" or "torch", as the environment variable KERAS_BACKEND names it.
BACKEND: str = keras.backend.backend()

# The dtype of labels and counts; JAX has 64-bit numbers only where a program asks for them.
INTEGER = "int32" if BACKEND == "jax" else "int64"

if BACKEND not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "keras_sphereface runs on the Keras backends tensorflow, jax and torch. "
        f"Received: KERAS_BACKEND={BACKEND}"
    )

_own = importlib.import_module(f"keras_sphereface.backend.{BACKEND}")

ops: Any
if KERAS_3:
    ops = types.SimpleNamespace(**{**vars(keras.ops), **_own.KEEPING_FLOAT64})
else:
    ops = importlib.import_module("keras_sphereface.backend._keras2_ops")

alias = _own.alias
column_norms = _own.column_norms
compiled = _own.compiled
exp_in_place = _own.exp_in_place
in_order = _own.in_order
matmul = _own.matmul
never = _own.never
pick = _own.pick
product_into = _own.product_into
put = _own.put
refuse_gradient = _own.refuse_gradient
require = _own.require
scale_in_place = _own.scale_in_place
search_rows = _own.search_rows
subtract_product_in_place = _own.subtract_product_in_place
uniform = _own.uniform
value_of = _own.value_of
vector_jacobian = _own.vector_jacobian


def only_tensorflow(name: str) -> None:
    """Raise an ImportError on another backend than TensorFlow, for a part that needs this one.

    Example:
        >>> only_tensorflow("keras_sphereface.training")
    """
    if BACKEND != "tensorflow":
        raise ImportError(
            f"{name} runs on TensorFlow only; heads, losses, networks and `EmbeddingClassifier` "
            f"run on every backend. Set KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={BACKEND}"
        )


def tensorflow_names(module: str, *names: str) -> Callable[[str], Any]:
    """Return a `__getattr__` of a module for names that it has on TensorFlow only.

    Example:
        >>> tensorflow_names("module", "Layer")("Other")
        Traceback (most recent call last):
            ...
        AttributeError: module 'module' has no attribute 'Other'
    """

    def find(name: str) -> Any:
        if name in names:
            only_tensorflow(f"{module}.{name}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def dtype_of(tensor: Tensor) -> str:
    """Return the name of a tensor's dtype, "float32" for example.

    Example:
        >>> dtype_of(ops.zeros((2,), dtype="float64"))
        'float64'
    """
    return keras.backend.standardize_dtype(tensor.dtype) if KERAS_3 else tensor.dtype.name


def is_floating(tensor: Tensor) -> bool:
    """Return whether a tensor holds floating-point numbers.

    Example:
        >>> is_floating(ops.zeros((2,)))
        True
    """
    return "float" in dtype_of(tensor)


# The functions of the backends above are documented in `backend.tensorflow`.
__all__ = [
    "BACKEND",
    "INTEGER",
    "KERAS_3",
    "dtype_of",
    "is_floating",
    "only_tensorflow",
    "ops",
]
