"""The differences between Keras 2.15 and Keras 3, all of them, in one place."""

from typing import Any

import keras

from keras_sphereface.backend import BACKEND, INTEGER, KERAS_3

if BACKEND == "tensorflow":
    import tensorflow as tf


def loss_dtype(dtype: str) -> dict[str, str]:
    """Return the argument that keeps a loss from casting outputs; Keras 2.15 never casts them."""
    return {"dtype": dtype} if KERAS_3 else {}


def loss_config(loss: keras.losses.Loss) -> dict[str, str]:
    """Return the arguments that `keras.losses.Loss.get_config` leaves out."""
    return {"dtype": loss.dtype} if KERAS_3 else {}


def reads_checkpoints_of(version: str) -> bool:
    """Return whether this Keras reads checkpoints of another: 2 and 3 name weights differently."""
    return (int(version.split(".")[0]) >= 3) == KERAS_3


def tf_variable(weight: Any) -> Any:
    """Return the variable of TensorFlow behind a weight; in Keras 2.15 they are the same."""
    return weight.value if KERAS_3 and isinstance(weight, keras.Variable) else weight


def producer_of(tensor: Any) -> tuple[Any, list[Any]]:
    """Return the operation of a functional model that gave a symbolic tensor, and its inputs."""
    operation, index, _ = tensor._keras_history
    node = operation._inbound_nodes[index]
    return operation, list(node.input_tensors if KERAS_3 else node.keras_inputs)


def plain_update() -> dict[str, bool]:
    """Return the argument that keeps an optimizer from compiling updates; Keras 3 never does."""
    return {} if KERAS_3 else {"jit_compile": False}


def needs_autograph() -> bool:
    """Return whether a network's `call` may need AutoGraph: Keras 3 calls it as it is written."""
    return not KERAS_3


class SummedGradients:
    """Of an optimizer: the gradients that it is given are sums over the replicas already.

    Keras would sum them once more, in 32 bits.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[Any, Any]]:
        return list(grads_and_vars)  # Keras 3

    def aggregate_gradients(self, grads_and_vars: Any) -> list[tuple[Any, Any]]:
        return list(grads_and_vars)  # Keras 2.15


def slot_index(optimizer: Any, variable: Any) -> int:
    """Return the place of a weight among those that an optimizer was built with."""
    if KERAS_3:
        return optimizer._get_variable_index(variable)
    return optimizer._index_dict[optimizer._var_key(variable)]


def add_replicated_weight(
    layer: keras.layers.Layer,
    name: str,
    shape: tuple[int | None, ...] = (),
    dtype: str = INTEGER,
    start: float = 0.0,
) -> Any:
    """Add a weight, `start` at first, that every replica changes alike and none averages."""
    only_first = "only_first_replica" if KERAS_3 else tf.VariableAggregation.ONLY_FIRST_REPLICA
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=keras.initializers.Constant(start) if start else "zeros",
        trainable=False,
        aggregation=only_first,
    )
