"""The floating-point operations of a network, counted from the shapes of its layers."""

import math
from typing import Any

import keras

# Their weights act on each number by itself, which costs little beside a convolution.
ELEMENTWISE = (
    keras.layers.PReLU,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
)


def forward_flops(network: keras.Model) -> int:
    """Return the floating-point operations of a network for one image, forward only.

    A multiplication and the addition after it are two operations. Convolutions and dense layers
    count; biases, PReLU, normalization, pooling and additions do not: they are less than 1 % of
    the operations of a SphereFace network. A layer that is called several times counts once.
    A training step takes three times as many: the gradients by inputs and by weights cost as much
    as the forward pass each.

    Args:
        network: A functional or `Sequential` model for images of one size.

    Raises:
        ValueError: If a layer with weights is of a kind that is not counted here, or does not
            know the size of its output.

    Example:
        >>> from keras_sphereface.models import sphereface20
        >>> round(forward_flops(sphereface20()) / 1e9, 2)
        3.5
    """
    layers = network._flatten_layers(include_self=False)
    return sum(map(_flops_of, (layer for layer in layers if _holds_weights(layer))))


def _holds_weights(layer: keras.layers.Layer) -> bool:
    """Return whether a layer has weights of its own, and not only those of layers within it."""
    within = list(layer._flatten_layers(include_self=False))
    return bool(layer.weights) and not within


def _flops_of(layer: keras.layers.Layer) -> int:
    if isinstance(layer, ELEMENTWISE):
        return 0
    if isinstance(layer, keras.layers.DepthwiseConv2D):  # a Conv2D in Keras 2, so it comes first
        kernel = layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel
        # (h, w, channels, multiplier): each output channel sees one input channel.
        return 2 * _positions(layer) * math.prod(kernel.shape)
    if type(layer) is keras.layers.Conv2D:
        # (h, w, input channels of a group, output channels).
        return 2 * _positions(layer) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return 2 * math.prod(_output_sizes(layer)[:-1]) * math.prod(layer.kernel.shape)
    raise ValueError(
        "The operations of Conv2D, DepthwiseConv2D and Dense are counted, and no others. "
        f"Received: the layer {layer.name!r}, a {type(layer).__name__} with weights"
    )


def _positions(layer: Any) -> int:
    """Return the number of places of a map where a convolution is computed."""
    sizes = _output_sizes(layer)
    return math.prod(sizes[1:] if layer.data_format == "channels_first" else sizes[:-1])


def _output_sizes(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Return the shape of the output of a layer for one image."""
    try:
        sizes = tuple(layer.output.shape)[1:]
    except (AttributeError, ValueError):
        sizes = (None,)
    if None in sizes:
        raise ValueError(
            "Operations are counted for images of one size, in a functional or Sequential model. "
            f"Received: the layer {layer.name!r}, which does not know the size of its output"
        )
    return sizes
