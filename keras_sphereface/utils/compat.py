"""The differences between Keras 2.15 and Keras 3, all of them, in one place."""

import functools
import importlib.util
import warnings
from types import ModuleType

import keras
import tensorflow as tf

KERAS_3 = int(keras.__version__.split(".")[0]) >= 3


def loss_dtype(dtype: str) -> dict[str, str]:
    """The argument that keeps a loss from casting outputs; Keras 2.15 never casts them."""
    return {"dtype": dtype} if KERAS_3 else {}


def loss_config(loss: keras.losses.Loss) -> dict[str, str]:
    """What the configuration of a loss leaves out by itself."""
    return {"dtype": loss.dtype} if KERAS_3 else {}


def reads_checkpoints_of(version: str) -> bool:
    """Whether this Keras reads those of another: 2 and 3 name what is in them differently."""
    return (int(version.split(".")[0]) >= 3) == KERAS_3


def tf_variable(weight) -> tf.Variable:
    """The variable of TensorFlow behind a weight; in Keras 2.15 they are one."""
    return weight.value if KERAS_3 and isinstance(weight, keras.Variable) else weight


def plain_update() -> dict[str, bool]:
    """The argument by which an optimizer does not compile its updates; Keras 3 never does."""
    return {} if KERAS_3 else {"jit_compile": False}


def add_replicated_weight(
    layer: keras.layers.Layer, name: str, shape: tuple[int, ...] = (), dtype: str = "int64"
):
    """A weight, zeros at first, that every replica changes alike and none averages."""
    aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer="zeros",
        trainable=False,
        aggregation=aggregation.name.lower() if KERAS_3 else aggregation,
    )


@functools.cache
def addons_losses() -> ModuleType | None:
    """`tensorflow_addons.losses` where it is installed and runs, else None.

    It is imported at the first call. Beside Keras 3 it cannot run and is left alone.
    """
    if KERAS_3 or importlib.util.find_spec("tensorflow_addons") is None:
        return None
    with warnings.catch_warnings():
        # That it has ended, and which versions of TensorFlow it was tried with.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("tensorflow_addons.losses")
        except (ImportError, AttributeError):  # made for another TensorFlow or Keras
            return None
