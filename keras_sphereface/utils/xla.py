"""Functions that XLA compiles, inside of graphs that it does not compile."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled_by_xla(function: Callable) -> Any:
    """Decorate a function of tensors: XLA compiles it, once for each shape of its arguments."""
    return tf.function(function, autograph=False, jit_compile=True)


@functools.cache
def has_xla() -> bool:
    """Return whether this build of TensorFlow compiles for its CPU with XLA; some do not."""
    try:
        return int(compiled_by_xla(tf.identity)(tf.constant(1))) == 1
    except (tf.errors.OpError, ValueError):
        return False
