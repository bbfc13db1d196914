"""Activations computed again in the backward pass: less memory for a longer step.

Reference: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.training.training_call import training_call
from keras_sphereface.utils.compat import producer_of

# They draw other numbers when they are called again.
RANDOM = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout")


def recomputing(
    network: keras.Model,
    call: Callable[[keras.Model], Callable[[tf.Tensor], tf.Tensor]] = training_call,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the network's call in training, which keeps only the activations between its segments.

    What lies inside of a segment is computed again where its gradient is. Embeddings and gradients
    stay the same.

    Args:
        network: As of `segments_of`.
        call: How a segment is called.

    Returns:
        A function from images (B, H, W, 3) to embeddings (B, D).

    Raises:
        ValueError: If the network cannot be divided, or computes something else at each call.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> network = sphereface4(width=0.05)
        >>> recomputing(network)(tf.zeros((2, 112, 96, 3))).shape
        TensorShape([2, 512])
    """
    *first, last = segments_of(network)
    repeated = [tf.recompute_grad(call(segment)) for segment in first]
    # The backward pass begins with the last segment: its activations are needed at once.
    calls = [*repeated, call(last)]

    def embed(images: tf.Tensor) -> tf.Tensor:
        x = images
        for call in calls:
            x = call(x)
        return x

    return embed


def segments_of(network: keras.Model) -> list[keras.Model]:
    """Divide a network into models one after another, which share its layers.

    A segment ends where branches meet, as at the end of a residual block. A network without
    branches is divided into about as many segments as each has layers.

    Args:
        network: A functional model of one input and one output.

    Raises:
        ValueError: If the network shows no layers, uses a layer twice, or has layers that compute
            something else at each call: dropout, batch normalization that is trained, penalties of
            activations.

    Example:
        >>> from keras_sphereface.models import sphereface20
        >>> [segment.layers[-1].name for segment in segments_of(sphereface20(width=0.05))][:3]
        ['conv1_3_add', 'conv2_3_add', 'conv2_5_add']
    """
    inputs = getattr(network, "inputs", None)
    if not inputs or len(inputs) != 1 or len(network.outputs) != 1:
        raise ValueError(
            "`remat` needs a functional or Sequential model of one input and one output. "
            f"Received: {network.name}, a {type(network).__name__}"
        )
    used = _operations(network)
    for operation, _, _ in used:
        _check_repeatable(operation)
    tensors = [inputs[0], *_cuts(used), network.outputs[0]]
    return [keras.Model(start, end) for start, end in itertools.pairwise(tensors)]


def _check_repeatable(operation: Any) -> None:
    every = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else ()
    for one in every:
        changes = one.trainable and bool(one.non_trainable_weights)
        penalty = getattr(one, "activity_regularizer", None) is not None
        if changes or penalty or type(one).__name__ in RANDOM:
            raise ValueError(
                "`remat` calls layers twice in a step, so they must compute the same each time: no "
                "dropout, no batch normalization that is trained (see --hold-batch-norm), no "
                f"penalty of activations. Received: {one.name}, a {type(one).__name__}"
            )


# A layer or other operation, the tensors that it takes, and the one that it gives.
_Use = tuple[Any, list[Any], Any]


def _operations(network: keras.Model) -> list[_Use]:
    """What a network computes between its input and its output, in an order of computation."""
    uses: dict[int, _Use] = {}
    nodes: dict[int, int] = {}  # of the operations, each of which is to be used once
    waiting = [(network.outputs[0], False)]
    while waiting:
        tensor, has_inputs = waiting.pop()
        operation, taken = producer_of(tensor)
        node = tensor._keras_history[1]
        if nodes.setdefault(id(operation), node) != node:
            raise ValueError(
                "`remat` needs a network that uses every layer once. "
                f"Received: {operation.name}, a {type(operation).__name__}"
            )
        if isinstance(operation, keras.layers.InputLayer) or id(operation) in uses:
            continue
        if has_inputs:
            uses[id(operation)] = operation, taken, tensor
            continue
        waiting += [(tensor, True), *((one, False) for one in taken)]
    return list(uses.values())


def _cuts(used: Sequence[_Use]) -> list[Any]:
    """The tensors between the segments; nothing else goes from one side of them to the other."""
    places = {id(operation): place for place, (operation, _, _) in enumerate(used)}
    last_uses = [0] * len(used)
    for place, (_, taken, _) in enumerate(used):
        for tensor in taken:
            producer = places.get(id(producer_of(tensor)[0]))
            if producer is not None:
                last_uses[producer] = place
    merges, alone, last_use = [], [], 0
    for place, (_, taken, tensor) in enumerate(used[:-1]):
        # All that came before has been used up here.
        if last_use <= place:
            alone.append(tensor)
            if len(taken) > 1:
                merges.append(tensor)
        last_use = max(last_use, last_uses[place])
    if merges or not alone:
        return merges
    return alone[:: math.ceil(math.sqrt(len(alone)))][1:]
