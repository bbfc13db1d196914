"""The images that an embedding network takes: size, channels, type and range of the pixels.

Networks of Keras differ in the range. Those of this package take floats in [-1, 1); EfficientNet,
MobileNetV3 and ConvNeXt begin with a layer that scales pixels from 0..255, and so do most networks
that take uint8. In the wrong range a network still trains, but to embeddings that are nearly
the same for all faces, so the range is found out from the network, or asked for.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_sphereface.backend import dtype_of
from keras_sphereface.config.choices import INPUT_RANGES
from keras_sphereface.utils.compat import producer_of
from keras_sphereface.utils.validation import check_choice

RGB, GRAY = 3, 1
# A layer that divides by more than this makes pixels 0..255 small; values in [-1, 1) are already.
LARGEST_DIVISOR_OF_UNIT_VALUES = 10.0
# Layers that change places of pixels, or little of their values, as it were the same image.
_SAME_RANGE = (
    *("InputLayer", "Identity", "Resizing", "CenterCrop", "Cropping2D", "ZeroPadding2D"),
    *("AveragePooling2D", "MaxPooling2D", "UpSampling2D", "Permute", "Reshape", "Concatenate"),
    *("Dropout", "SpatialDropout2D", "GaussianNoise", "Pipeline"),
)
# Steps of a graph whose effect cannot be seen: functions, and operations on tensors.
_FUNCTIONS = ("Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod")


@dataclasses.dataclass(frozen=True)
class InputContract:
    """The images that a network takes.

    Attributes:
        image_size: (height, width).
        channels: 3, RGB, or 1, gray.
        dtype: Type of its input, for example "float32" or "uint8".
        input_range: "raw", pixels 0..255, which the network scales by itself; or "unit",
            (value - 127.5) / 128 in [-1, 1).

    Example:
        >>> InputContract((112, 96), 3, "uint8", "raw").describe()
        '112 x 96 RGB, uint8 0..255, scaled by the network'
    """

    image_size: tuple[int, int]
    channels: int = RGB
    dtype: str = "float32"
    input_range: str = "unit"

    @property
    def is_standard(self) -> bool:
        """True if the network takes what the networks of this package do."""
        return (self.channels, self.dtype, self.input_range) == (RGB, "float32", "unit")

    def describe(self) -> str:
        """Return the contract in words."""
        colors = "gray" if self.channels == GRAY else "RGB"
        size = " x ".join(map(str, self.image_size))
        values = "0..255, scaled by the network" if self.input_range == "raw" else "in [-1, 1)"
        return f"{size} {colors}, {self.dtype} {values}"


def input_contract(
    network: keras.Model,
    image_size: tuple[int, int] | None = None,
    input_range: str | None = None,
) -> InputContract:
    """Find out which images a network takes.

    Args:
        network: Any Keras model of one input, images.
        image_size: (height, width) of the images that it is to take; None: its own.
        input_range: "raw" or "unit", see `InputContract`; None: found out. An attribute
            `input_range` of the network or of its first layer decides. Else integers, and a first
            layer that divides pixels (`Rescaling(1 / 255)`, `Normalization`), mean "raw".

    Raises:
        ValueError: If it takes other images, or, with None, the range or the size cannot be found
            out.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> scaled = keras.layers.Rescaling(1 / 255)(image)
        >>> network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(scaled))
        >>> input_contract(network, (112, 96)).input_range
        'raw'
    """
    shape, dtype = _input_of(network)
    _check_shape(network, shape, image_size)
    height, width = image_size or shape[1:3]
    if height is None or width is None:
        raise ValueError(
            "`image_size`, (height, width), must be given with a network that takes images of any "
            f"size. Received: image_size={image_size}, and {network.name} with images of {shape}"
        )
    input_range = _checked_range(network, dtype, input_range)
    return InputContract((height, width), shape[3] or RGB, dtype, input_range)


def _input_of(network: keras.Model) -> tuple[tuple[int | None, ...], str]:
    """Return shape and type of the input of a network; open sizes where it does not state them."""
    inputs = getattr(network, "inputs", None)
    if inputs:
        if len(inputs) != 1:
            shapes = [tuple(tensor.shape) for tensor in inputs]
            raise ValueError(
                "A network must take one input, images (batch, height, width, channels). "
                f"Received: {network.name} with inputs of {shapes}"
            )
        return tuple(inputs[0].shape), dtype_of(inputs[0])
    # A subclass of Model knows the shape of its first call.
    shape = (network.get_build_config() or {}).get("input_shape")
    if isinstance(shape, list | tuple) and len(shape) == 4:
        return tuple(shape), "float32"
    return (None, None, None, None), "float32"


def _check_shape(
    network: keras.Model, shape: tuple[int | None, ...], image_size: tuple[int, int] | None
) -> None:
    """Refuse what is no batch of RGB or gray images, or has another size."""
    if len(shape) != 4 or shape[3] not in (RGB, GRAY, None):
        raise ValueError(
            "A network must take images (batch, height, width, channels), with 3 channels (RGB) or "
            f"1 (gray). Received: {network.name} with an input of {shape}"
        )
    own_size = shape[1:3]
    if image_size and any(
        own not in (None, size) for own, size in zip(own_size, image_size, strict=True)
    ):
        raise ValueError(
            f"A network must take the images as they are, {image_size[0]} x {image_size[1]}: make "
            "it for their size, or convert them with --height and --width of its own. "
            f"Received: {network.name} for images of {own_size[0]} x {own_size[1]}"
        )


def _checked_range(network: keras.Model, dtype: str, input_range: str | None) -> str:
    """Return the range that is given or found out, unless it contradicts the type."""
    if "float" in dtype:
        if input_range is not None:
            return check_choice(input_range, "input_range", INPUT_RANGES)
        return range_of_network(network)
    if "int" not in dtype or dtype == "int8" or input_range == "unit":
        raise ValueError(
            "A network must take floats, or integers from 0 to 255 (`input_range` raw). "
            f"Received: {network.name} with {dtype}, input_range={input_range}"
        )
    return "raw"


def range_of_network(network: keras.Model) -> str:
    """Find out whether a network takes pixels 0..255 ("raw") or values in [-1, 1) ("unit").

    Args:
        network: Model of one float input.

    Raises:
        ValueError: If it begins with a function or a custom layer without weights, whose effect
            cannot be seen.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> range_of_network(sphereface4(input_shape=(28, 24, 3), width=0.05))
        'unit'
    """
    answers = list(_answers(network))
    for name, answer in answers:
        if answer == "unknown":
            raise ValueError(
                "`input_range` must be raw (pixels 0..255) or unit (values in [-1, 1)) where the "
                f"network does not show it: {network.name} begins with {name}, which may "
                "scale pixels. Received: input_range=None (--input-range)"
            )
    return "raw" if any(answer == "raw" for _, answer in answers) else "unit"


def _answers(operation: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, "raw", "unit" or "unknown") of the first operations that decide it."""
    declared = getattr(operation, "input_range", None)
    if declared in INPUT_RANGES:
        yield operation.name, declared
    elif getattr(operation, "inputs", None) and getattr(operation, "outputs", None):
        yield from _answers_of_graph(operation)
    elif divisor := _divisor(operation):
        is_raw = divisor > LARGEST_DIVISOR_OF_UNIT_VALUES
        yield operation.name, "raw" if is_raw else "unit"
    elif type(operation).__name__ in _FUNCTIONS or not isinstance(operation, keras.layers.Layer):
        yield operation.name, "unknown"
    elif _is_of_keras(operation):
        yield operation.name, "unit"
    else:
        yield from _answers_of_custom(operation)


def _answers_of_graph(model: keras.Model) -> Iterator[tuple[str, str]]:
    """Yield the answers of the operations that read the input of a functional model."""
    consumers = _consumers(model)
    tensors = list(model.inputs)
    while tensors:
        for operation, output in consumers.get(id(tensors.pop()), []):
            if _keeps_the_range(operation):
                tensors.append(output)
            else:
                yield from _answers(operation)


def _answers_of_custom(layer: keras.layers.Layer) -> Iterator[tuple[str, str]]:
    """Yield the answers of a layer or model without a graph: the order of its parts is unknown."""
    parts = [part for part in layer._flatten_layers() if part is not layer]
    for part in parts:
        if getattr(part, "input_range", None) == "raw" or (
            (_divisor(part) or 0.0) > LARGEST_DIVISOR_OF_UNIT_VALUES
        ):
            yield part.name, "raw"
            return
    is_network = isinstance(layer, keras.Model) or bool(layer.weights)
    yield layer.name, "unit" if is_network else "unknown"


def _consumers(model: keras.Model) -> dict[int, list[tuple[Any, Any]]]:
    """Return {id of a tensor: [(operation that reads it, tensor that it returns)]} of a model."""
    consumers: dict[int, list[tuple[Any, Any]]] = {}
    inputs = {id(tensor) for tensor in model.inputs}
    open_tensors, seen = list(model.outputs), set()
    while open_tensors:
        tensor = open_tensors.pop()
        if id(tensor) in seen or id(tensor) in inputs:
            continue
        seen.add(id(tensor))
        operation, sources = producer_of(tensor)
        for source in sources:
            consumers.setdefault(id(source), []).append((operation, tensor))
            open_tensors.append(source)
    return consumers


def _keeps_the_range(operation: Any) -> bool:
    if getattr(operation, "input_range", None) in INPUT_RANGES:
        return False
    name = type(operation).__name__
    is_augmentation = name.startswith("Random")
    return _is_of_keras(operation) and (is_augmentation or name in _SAME_RANGE)


def _is_of_keras(operation: Any) -> bool:
    return type(operation).__module__.partition(".")[0] == "keras"


def _divisor(layer: Any) -> float | None:
    """Return by what a layer of Keras divides its inputs; None if it does not scale them."""
    if isinstance(layer, keras.layers.Rescaling):
        return float(1.0 / max(np.abs(np.mean(layer.scale)), 1e-12))
    if isinstance(layer, keras.layers.Normalization):
        variance = getattr(layer, "variance", None)
        if variance is None:
            variance = getattr(layer, "input_variance", None)
        return None if variance is None else float(np.sqrt(np.mean(np.asarray(variance))))
    return None
