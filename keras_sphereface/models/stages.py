"""The stages of a network, and what of it keeps its weights while the rest is trained on."""

import math
from collections.abc import Iterator, Sequence

import keras

from keras_sphereface.models.embedding_network import EmbeddingNetwork


def network_stages(network: keras.Model) -> list[list[keras.layers.Layer]]:
    """Return the layers that are trained, by stage, from the images to the embedding.

    A stage is a run of layers whose feature maps have one size: each stage ends where the maps
    shrink. What follows the maps (FC1 of a SphereFace network) is the last stage. A branch whose
    maps are small for a moment, as of squeeze-and-excitation, belongs to the stage around it.

    Args:
        network: A functional or `Sequential` model from images to embeddings, or what
            `embedding_network` makes of one.

    Returns:
        A list of layers for each stage; at least one stage.

    Raises:
        ValueError: If the network shows no layers, as a subclass of Model.

    Example:
        >>> from keras_sphereface.models import sphereface10
        >>> stages = network_stages(sphereface10(width=0.05))
        >>> [len(stage) for stage in stages], stages[-1][0].name
        ([2, 6, 10, 2, 1], 'fc1')
    """
    layers = list(_layers(network))
    if not any(map(_is_trained, (layer for layer, _ in layers))):
        raise ValueError(
            "The stages of a network are told by its layers, so it must be a functional or a "
            f"Sequential model. Received: {network.name}, a {type(network).__name__}"
        )
    sizes, largest = [], 0.0
    for _, size in reversed(layers):
        # Small maps before larger ones are a branch beside them.
        largest = max(largest, size)
        sizes.append(largest)
    stages: dict[float, list[keras.layers.Layer]] = {}
    for (layer, _), size in zip(layers, reversed(sizes), strict=True):
        if _is_trained(layer):
            stages.setdefault(size, []).append(layer)
    return list(stages.values())


def freeze_stages(network: keras.Model, num_stages: int) -> list[keras.layers.Layer]:
    """Let the weights of the first stages stay as they are; batch norm there keeps its averages.

    Args:
        network: As of `network_stages`.
        num_stages: Int. Number of stages from the images on that are not trained, from 0 to one
            less than the network has.

    Returns:
        The layers that are frozen now and were not before.

    Raises:
        ValueError: If no stage would be left to train, or the network shows no layers.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> network = sphereface4(width=0.05)
        >>> frozen = freeze_stages(network, 2)
        >>> [layer.name for layer in frozen]
        ['conv1_1', 'relu1_1', 'conv2_1', 'relu2_1']
    """
    if num_stages == 0:
        return []
    stages = network_stages(network)
    if not 0 <= num_stages < len(stages):
        raise ValueError(
            f"`freeze_stages` must be from 0 to {len(stages) - 1}: {network.name} has "
            f"{len(stages)} stages, and the last one at least is trained. "
            f"Received: freeze_stages={num_stages}"
        )
    return _freeze([layer for stage in stages[:num_stages] for layer in stage])


def hold_batch_norm(network: keras.Model) -> list[keras.layers.Layer]:
    """Let batch normalization keep its averages, scale and offset, and use them in training too.

    Few images, or images of other identities, give other averages than those that the weights
    around them were trained with.

    Returns:
        The layers that are held now and were not before; none in a network without any.

    Example:
        >>> from keras_sphereface.models import keras_network
        >>> network = keras_network("MobileNetV2", (32, 32, 3), embedding_size=8)
        >>> len(hold_batch_norm(network))
        52
    """
    every = network._flatten_layers()
    return _freeze([one for one in every if isinstance(one, keras.layers.BatchNormalization)])


def rates_by_stage(network: keras.Model, layer_decay: float) -> dict[int, float]:
    """Return {id of a weight: factor on its learning rate}, smaller for lower stages.

    Stage k of S has the factor layer_decay^(S - k), the last stage 1: lower layers hold what all
    faces share, and need least change (layer-wise learning-rate decay; Howard and Ruder, ACL 2018).

    Args:
        network: As of `network_stages`.
        layer_decay: Float in (0, 1].

    Raises:
        ValueError: If the network shows no layers.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> network = sphereface4(width=0.05)
        >>> rates = rates_by_stage(network, 0.5)
        >>> rates[id(network.get_layer("conv1_1").kernel)], rates[id(network.layers[-1].kernel)]
        (0.0625, 1.0)
    """
    if layer_decay == 1:
        return {}
    stages = network_stages(network)
    return {
        id(weight): math.pow(layer_decay, len(stages) - number)
        for number, layers in enumerate(stages, start=1)
        for layer in layers
        for weight in layer.weights
    }


def _layers(network: keras.Model) -> Iterator[tuple[keras.layers.Layer, float]]:
    """The layers of a model and of the models in it, in order, each with its pixels per map."""
    if isinstance(network, EmbeddingNetwork):
        yield from _layers(network.network)
        return
    for layer in getattr(network, "layers", ()):
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            yield from _layers(layer)
        else:
            shape = _output_shape(layer)
            # A vector is smaller than the smallest map.
            yield layer, math.prod(shape[1:3]) if len(shape) == 4 else 0.0


def _is_trained(layer: keras.layers.Layer) -> bool:
    """Return whether a layer has weights that a training changes, unless it is frozen."""
    # Its statistics are those of a data set, given with the layer.
    return bool(layer.weights) and not isinstance(layer, keras.layers.Normalization)


def _output_shape(layer: keras.layers.Layer) -> Sequence[int]:
    """The shape of what a layer returns; () where a layer without a graph does not state it."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return ()
    return tuple(size or 1 for size in shape)


def _freeze(layers: list[keras.layers.Layer]) -> list[keras.layers.Layer]:
    frozen = [layer for layer in layers if layer.trainable and layer.weights]
    for layer in frozen:
        layer.trainable = False
    return frozen
