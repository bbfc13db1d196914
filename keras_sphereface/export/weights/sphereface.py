"""SphereFace networks of Caffe and PyTorch as networks of Keras.

Both name their layers convS_N, reluS_N and fc5, hold kernels as (out, in, H, W) and flatten
(C, H, W), where Keras has (H, W, in, out) and (H, W, C). Both were trained on BGR images, as OpenCV
decodes them.
"""

import os
import re
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_sphereface.config.choices import COLOR_ORDERS, NETWORKS
from keras_sphereface.export.weights.files import read_layers
from keras_sphereface.models.sphereface import sphereface_of_blocks
from keras_sphereface.utils.progress import log
from keras_sphereface.utils.text import counted
from keras_sphereface.utils.validation import check_choice

NUM_STAGES = 4
EMBEDDING_LAYER = "fc5"
# Class weights of the training, and what it was judged by: not part of the network.
HEADS = ("fc6",)
# Sizes of the last feature map, and the images (height, width) that give them.
IMAGE_SIZES = {7 * 6: (112, 96), 7 * 7: (112, 112)}

Layers = Mapping[str, Sequence[np.ndarray]]


def import_weights(path: str | os.PathLike, color_order: str = "bgr") -> keras.Model:
    """Return the network whose weights a .caffemodel or a .pth holds.

    Args:
        path: File of the reference implementation in Caffe (SphereFace-20, -64, ...), or of its
            PyTorch port (`sphere20a`).
        color_order: "bgr" or "rgb", the channels of the images that it was trained on; both
            implementations take BGR.

    Returns:
        A network from RGB images (N, H, W, 3), (value - 127.5) / 128, to embeddings, as those of
        `models.sphereface`. Its residual convolutions have a bias if those of the file have one
        other than zero.

    Raises:
        ValueError: If the file cannot be read, or holds another network.

    Example:
        >>> import_weights("faces/pairs.txt")
        Traceback (most recent call last):
        ValueError: faces/pairs.txt must be a .caffemodel, and whole. Received: ...
    """
    check_choice(color_order, "color_order", COLOR_ORDERS)
    try:
        return _network(read_layers(path), color_order)
    except _OtherNetworkError as error:
        raise ValueError(
            "`weights` must be those of a SphereFace network, layers conv1_1, relu1_1, ..., fc5. "
            f"Received: {path}, and {error}"
        ) from error


class _OtherNetworkError(ValueError):
    """The layers are not those of a SphereFace network."""


def _network(layers: Layers, color_order: str) -> keras.Model:
    blocks = _blocks_per_stage(layers)
    names = _conv_names(blocks)
    weights = {name: _convolution(layers, name) for name in names}
    slopes = {name: _slopes(layers, name, weights[name][0].shape[-1]) for name in names}
    _check_chain(weights, names)
    channels = tuple(weights[f"conv{stage}_1"][0].shape[-1] for stage in range(1, NUM_STAGES + 1))
    kernel, bias, image_size = _embedding(layers, channels[-1])
    if color_order == "bgr":
        first, first_bias = weights["conv1_1"]
        weights["conv1_1"] = (first[:, :, ::-1], first_bias)
    residual = [name for name in names if not name.endswith("_1")]
    has_bias = any(np.any(weights[name][1]) for name in residual)
    network = sphereface_of_blocks(
        blocks,
        channels,
        input_shape=(*image_size, 3),
        embedding_size=len(bias),
        residual_bias=has_bias,
        seed=0,
        name=_name(blocks),
    )
    for name in names:
        has_own_bias = has_bias or name not in residual
        network.get_layer(name).set_weights(list(weights[name])[: 1 + has_own_bias])
        slope = slopes[name].reshape(1, 1, -1)
        network.get_layer(name.replace("conv", "relu")).set_weights([slope])
    network.get_layer("fc1").set_weights([kernel, bias])
    return network


def _blocks_per_stage(layers: Layers) -> tuple[int, int, int, int]:
    """The residual blocks of each stage, counted by the names; refuse layers of other names."""
    blocks = []
    for stage in range(1, NUM_STAGES + 1):
        count = sum(re.fullmatch(rf"conv{stage}_\d+", name) is not None for name in layers)
        if count % 2 == 0:
            raise _OtherNetworkError(
                f"{count} convolutions conv{stage}_N, where one and two of each block are needed"
            )
        blocks.append(count // 2)
    known = {name for conv in _conv_names(blocks) for name in (conv, conv.replace("conv", "relu"))}
    known.add(EMBEDDING_LAYER)
    if missing := sorted(known - set(layers)):
        raise _OtherNetworkError(f"no layer {missing[0]}")
    others = [name for name in layers if name not in known]
    if strange := [name for name in others if name not in HEADS]:
        raise _OtherNetworkError(f"a layer {strange[0]!r} besides them")
    if others:
        log(f"left out, since it served the training only: {', '.join(others)}")
    return (blocks[0], blocks[1], blocks[2], blocks[3])


def _conv_names(blocks: Sequence[int]) -> list[str]:
    return [
        f"conv{stage}_{number}"
        for stage, count in enumerate(blocks, start=1)
        for number in range(1, 2 * count + 2)
    ]


def _name(blocks: tuple[int, int, int, int]) -> str:
    for name, choice in NETWORKS.items():
        if choice.blocks_per_stage == blocks:
            return name
    # The 64 layers that were released have seven blocks in stage 2, and the paper eight.
    return f"sphereface_{'_'.join(map(str, blocks))}"


def _convolution(layers: Layers, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (3, 3, in, out) and bias (out,)."""
    weight, *rest = _arrays(layers, name, (1, 2))
    if weight.ndim != 4 or weight.shape[2:] != (3, 3):
        raise _OtherNetworkError(f"kernels of shape {weight.shape} in {name}, not (out, in, 3, 3)")
    bias = rest[0].ravel() if rest else np.zeros(len(weight), np.float32)
    if len(bias) != len(weight):
        raise _OtherNetworkError(f"{len(bias)} biases for {len(weight)} channels in {name}")
    return weight.transpose(2, 3, 1, 0), bias


def _slopes(layers: Layers, conv: str, channels: int) -> np.ndarray:
    name = conv.replace("conv", "relu")
    (slopes,) = _arrays(layers, name, (1,))
    if slopes.size not in (1, channels):
        raise _OtherNetworkError(f"{slopes.size} slopes for {channels} channels in {name}")
    return np.broadcast_to(slopes.ravel(), channels)  # one slope may be shared by the channels


def _check_chain(weights: Mapping[str, tuple[np.ndarray, np.ndarray]], names: list[str]) -> None:
    """Each convolution takes the channels that the one before it gives."""
    given = 3
    for name in names:
        taken, out = weights[name][0].shape[2:]
        if taken != given:
            raise _OtherNetworkError(f"{taken} channels into {name} after {given}")
        if not name.endswith("_1") and out != given:
            raise _OtherNetworkError(f"{out} channels from {name} in a block of {given}")
        given = out


def _embedding(layers: Layers, channels: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Kernel (H W C, D) and bias (D,) of the embedding, and the size of the images."""
    weight, *rest = _arrays(layers, EMBEDDING_LAYER, (1, 2))
    if weight.ndim == 4 and weight.shape[:2] == (1, 1):  # of old versions of Caffe
        weight = weight[0, 0]
    places = weight.shape[-1] // channels
    if weight.ndim != 2 or weight.shape[1] % channels or places not in IMAGE_SIZES:
        sizes = " or ".join(f"{h} x {w}" for h, w in IMAGE_SIZES.values())
        raise _OtherNetworkError(
            f"{EMBEDDING_LAYER} of shape {weight.shape}, which fits no image of {sizes}"
        )
    height, width = IMAGE_SIZES[places]
    size = len(weight)
    maps = weight.reshape(size, channels, height // 16, width // 16)
    bias = rest[0].ravel() if rest else np.zeros(size, np.float32)
    if len(bias) != size:
        raise _OtherNetworkError(f"{len(bias)} biases for an embedding of {size}")
    return maps.transpose(2, 3, 1, 0).reshape(-1, size), bias, (height, width)


def _arrays(layers: Layers, name: str, counts: tuple[int, ...]) -> list[np.ndarray]:
    arrays = list(layers[name])
    if len(arrays) not in counts:
        raise _OtherNetworkError(f"{counted(len(arrays), 'array')} in {name}")
    for array in arrays:
        if array.dtype.kind != "f" or not np.all(np.isfinite(array)):
            raise _OtherNetworkError(f"{array.dtype} numbers that are not all finite in {name}")
    return [array.astype(np.float32, copy=False) for array in arrays]
