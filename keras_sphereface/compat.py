"""The differences between Keras 2.15 and Keras 3, all of them, in one place."""

import keras
import tensorflow as tf

KERAS_3 = int(keras.__version__.split(".")[0]) >= 3


def loss_dtype(dtype: str) -> dict[str, str]:
    """The argument that keeps a loss from casting outputs; Keras 2.15 never casts them."""
    return {"dtype": dtype} if KERAS_3 else {}


def tf_variable(weight) -> tf.Variable:
    """The variable of TensorFlow behind a weight; in Keras 2.15 they are one."""
    return weight.value if KERAS_3 and isinstance(weight, keras.Variable) else weight


def plain_update() -> dict[str, bool]:
    """The argument by which an optimiser does not compile its updates; Keras 3 never does."""
    return {} if KERAS_3 else {"jit_compile": False}


def add_step_counter(layer: keras.layers.Layer, name: str):
    """A scalar int64 weight that every replica advances alike and none averages."""
    aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return layer.add_weight(
        name=name,
        shape=(),
        dtype="int64",
        initializer="zeros",
        trainable=False,
        aggregation=aggregation.name.lower() if KERAS_3 else aggregation,
    )
