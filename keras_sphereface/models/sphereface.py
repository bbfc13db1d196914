"""The SphereFace networks: image (B, H, W, 3) -> embedding (B, embedding_size).

Four stages of 64, 128, 256 and 512 channels. A stage is one stride-2 3x3 convolution and n
residual blocks of two 3x3 convolutions; PReLU follows every convolution, the addition comes
after the second PReLU and nothing after it. A fully connected layer (FC1) gives the
embedding. No batch normalization, no dropout, no pooling. `batch_norm=True` adds the first, which
networks trained on few images need more than those of the paper.

Reference: Liu et al., "SphereFace", CVPR 2017, table 2, and the network files of the reference
implementation.
"""

from collections.abc import Sequence
from typing import TypedDict

import keras
from typing_extensions import Unpack

from keras_sphereface.backend import Tensor
from keras_sphereface.config.choices import NETWORKS

STAGE_CHANNELS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = {network.depth: network.blocks_per_stage for network in NETWORKS.values()}


class NetworkArguments(TypedDict, total=False):
    """Arguments of `sphereface` beside `depth`."""

    input_shape: tuple[int, int, int]
    embedding_size: int
    width: float
    seed: int | None
    batch_norm: bool


def sphereface(
    depth: int,
    input_shape: tuple[int, int, int] = (112, 96, 3),
    embedding_size: int = 512,
    width: float = 1.0,
    seed: int | None = None,
    batch_norm: bool = False,
) -> keras.Model:
    """Return a SphereFace network of `depth` convolutions and FC1.

    Args:
        depth: Int: 4, 10, 20, 36 or 64.
        input_shape: (H, W, channels); 112 x 96 x 3 in the paper. Pixels are expected as
            (value - 127.5) / 128.
        embedding_size: Int >= 1. D, the units of FC1.
        width: Float > 0. Factor on the channels of the four stages; 1 in the paper.
        seed: Int. Seed for the start weights; None: different ones each time.
        batch_norm: Bool. Whether batch normalization stands between each convolution and its
            PReLU, in place of the convolution's bias; not in the paper.

    Returns:
        An uncompiled functional `keras.Model` named `sphereface<depth>`.

    Raises:
        ValueError: If an argument is not one of those allowed.

    Example:
        >>> network = sphereface(10, input_shape=(28, 24, 3), embedding_size=16, width=0.1)
        >>> network.name, network.output_shape
        ('sphereface10', (None, 16))
    """
    if depth not in BLOCKS_PER_STAGE:
        raise ValueError(
            f"`depth` must be one of {sorted(BLOCKS_PER_STAGE)}. Received: depth={depth!r}"
        )
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"`input_shape` must be (H, W, channels). Received: input_shape={input_shape!r}"
        )
    if embedding_size < 1:
        raise ValueError(
            f"`embedding_size` must be >= 1. Received: embedding_size={embedding_size!r}"
        )
    if not width > 0:
        raise ValueError(f"`width` must be above 0. Received: width={width!r}")
    return sphereface_of_blocks(
        BLOCKS_PER_STAGE[depth],
        [max(1, round(width * channels)) for channels in STAGE_CHANNELS],
        input_shape=input_shape,
        embedding_size=embedding_size,
        batch_norm=batch_norm,
        seed=seed,
        name=f"sphereface{depth}",
    )


def sphereface_of_blocks(
    blocks_per_stage: Sequence[int],
    stage_channels: Sequence[int] = STAGE_CHANNELS,
    *,
    input_shape: tuple[int, int, int] = (112, 96, 3),
    embedding_size: int = 512,
    residual_bias: bool = False,
    batch_norm: bool = False,
    seed: int | None = None,
    name: str = "sphereface",
) -> keras.Model:
    """Return a network of the form of SphereFace with any number of blocks and channels.

    Args:
        blocks_per_stage: Residual blocks of each stage.
        stage_channels: Channels of each stage.
        input_shape, embedding_size, batch_norm, seed: As of `sphereface`.
        residual_bias: Bool. Whether the convolutions of the blocks have a bias; not in the paper,
            and without effect with batch normalization, which has its own.
        name: Name of the model.

    Example:
        >>> sphereface_of_blocks((1, 0), (4, 8), input_shape=(8, 8, 3)).output_shape
        (None, 512)
    """
    seeds = _SeedSequence(seed)
    image = keras.Input(input_shape, name="image")
    x = image
    stages = zip(stage_channels, blocks_per_stage, strict=True)
    for stage, (channels, blocks) in enumerate(stages, start=1):
        x = _downsample(x, channels, seeds, f"conv{stage}_1", batch_norm)
        for block in range(blocks):
            first = f"conv{stage}_{2 * block + 2}"
            x = _residual_block(x, channels, seeds, first, residual_bias, batch_norm)
    x = keras.layers.Flatten(name="flatten")(x)
    embedding = keras.layers.Dense(
        embedding_size, kernel_initializer=_fan_in_uniform(seeds), name="fc1"
    )(x)
    return keras.Model(image, embedding, name=name)


def sphereface4(**kwargs: Unpack[NetworkArguments]) -> keras.Model:
    """Return SphereFace-4, with the arguments of `sphereface` except `depth`.

    Example:
        >>> sphereface4(input_shape=(28, 24, 3), width=0.05).output_shape
        (None, 512)
    """
    return sphereface(4, **kwargs)


def sphereface10(**kwargs: Unpack[NetworkArguments]) -> keras.Model:
    """Return SphereFace-10, with the arguments of `sphereface` except `depth`.

    Example:
        >>> sphereface10(input_shape=(28, 24, 3), width=0.05).output_shape
        (None, 512)
    """
    return sphereface(10, **kwargs)


def sphereface20(**kwargs: Unpack[NetworkArguments]) -> keras.Model:
    """Return SphereFace-20, with the arguments of `sphereface` except `depth`.

    Example:
        >>> sphereface20(input_shape=(28, 24, 3), width=0.05).output_shape
        (None, 512)
    """
    return sphereface(20, **kwargs)


def sphereface36(**kwargs: Unpack[NetworkArguments]) -> keras.Model:
    """Return SphereFace-36, with the arguments of `sphereface` except `depth`.

    Example:
        >>> sphereface36(input_shape=(28, 24, 3), width=0.05).output_shape
        (None, 512)
    """
    return sphereface(36, **kwargs)


def sphereface64(**kwargs: Unpack[NetworkArguments]) -> keras.Model:
    """Return SphereFace-64, with the arguments of `sphereface` except `depth`.

    Example:
        >>> sphereface64(input_shape=(28, 24, 3), width=0.05).output_shape
        (None, 512)
    """
    return sphereface(64, **kwargs)


class _SeedSequence:
    """A different seed for every initializer, all from one; None stays None."""

    def __init__(self, seed: int | None):
        self.seed, self.count = seed, 0

    def next(self) -> int | None:
        self.count += 1
        return None if self.seed is None else 1000 * self.seed + self.count


def _fan_in_uniform(seeds: _SeedSequence) -> keras.initializers.Initializer:
    """Uniform within +-sqrt(3 / fan_in): Caffe's "xavier" counts fan-in only."""
    return keras.initializers.LecunUniform(seed=seeds.next())


def _activated(x: Tensor, name: str, batch_norm: bool) -> Tensor:
    """PReLU after the convolution `name`, behind batch normalization if wanted."""
    if batch_norm:
        # Synchronized, so that n devices train like one; other backends have no such layer. The
        # usual momentum of 0.99 leaves the start values in the averages of a short run.
        x = keras.layers.BatchNormalization(
            momentum=0.9,
            synchronized=keras.backend.backend() == "tensorflow",
            name=name.replace("conv", "bn"),
        )(x)
    return keras.layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25),
        shared_axes=[1, 2],
        name=name.replace("conv", "relu"),
    )(x)


def _downsample(
    x: Tensor, channels: int, seeds: _SeedSequence, name: str, batch_norm: bool
) -> Tensor:
    # Keras' "same" pads an even size at the far side only; the paper pads one on every side.
    x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = keras.layers.Conv2D(
        channels,
        3,
        strides=2,
        use_bias=not batch_norm,
        kernel_initializer=_fan_in_uniform(seeds),
        name=name,
    )(x)
    return _activated(x, name, batch_norm)


def _residual_block(
    x: Tensor,
    channels: int,
    seeds: _SeedSequence,
    name: str,
    use_bias: bool,
    batch_norm: bool,
) -> Tensor:
    stage, first = name.rsplit("_", 1)
    y = x
    for layer_name in (name, f"{stage}_{int(first) + 1}"):
        y = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            use_bias=use_bias and not batch_norm,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=seeds.next()),
            name=layer_name,
        )(y)
        y = _activated(y, layer_name, batch_norm)
    return keras.layers.Add(name=f"{layer_name}_add")([x, y])
