"""A network's call in a training step, with layers that are faster on CPUs."""

import contextvars
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.training.prelu import prelu
from keras_sphereface.training.winograd import convolve
from keras_sphereface.utils.environment import first_gpu
from keras_sphereface.utils.xla import has_xla

# With fewer channels the sums before and after the products take longer than those that they save.
FEWEST_CHANNELS = 128
# A function compiled by XLA costs a tenth of a second at the start, which small layers do not save.
FEWEST_CHANNELS_OF_PRELU = 64
# Of its own in each thread: the devices of a strategy build their graphs in turns.
_is_training = contextvars.ContextVar("is_training", default=False)


def call_of_step(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the call that a step of `sphereface train` uses on this machine, without `--jit`."""
    # On a GPU cuDNN is faster.
    return training_call(network) if first_gpu() else fast_training_call(network)


def training_call(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the call of a network in training: images (B, H, W, 3) -> embeddings (B, D)."""
    return lambda images: network(images, training=True)


def fast_training_call(network: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return `training_call` with layers that compute the same faster on a CPU.

    Float32 convolutions of 3x3, stride 1, padding "same" and at least `FEWEST_CHANNELS` channels on
    both sides are those of `winograd`, and PReLUs with a slope for each of at least
    `FEWEST_CHANNELS_OF_PRELU` channels those of `prelu`.
    All other calls of the network, its weights and its files stay as they are. Where TensorFlow has
    no XLA, this is `training_call`.

    Args:
        network: Any Keras model.
    """
    call = training_call(network)
    if not has_xla():
        return call
    for layer in network._flatten_layers():
        _prepare(layer)

    def fast_call(images: tf.Tensor) -> tf.Tensor:
        token = _is_training.set(True)
        try:
            return call(images)
        finally:
            _is_training.reset(token)

    return fast_call


def _prepare(layer: Any) -> None:
    """Let a layer choose, at each call, between its own operation and the fast one."""
    kind = type(layer)
    if _is_large_convolution(layer):
        usual = kind.convolution_op.__get__(layer)
        layer.convolution_op = lambda *args: (convolve if _is_training.get() else usual)(*args)
    elif _is_prelu_of_channels(layer):

        def call(inputs: tf.Tensor) -> tf.Tensor:
            if _is_training.get():
                return prelu(inputs, tf.convert_to_tensor(layer.alpha))
            return kind.call(layer, inputs)

        layer.call = call


def _is_large_convolution(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.built
        and tuple(layer.kernel_size) == (3, 3)
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
        and (layer.padding, layer.groups, layer.data_format) == ("same", 1, "channels_last")
        and layer.compute_dtype == "float32"
        and min(layer.kernel.shape[2:]) >= FEWEST_CHANNELS
    )


def _is_prelu_of_channels(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.PReLU
        and layer.built
        and layer.compute_dtype == "float32"
        and tuple(layer.alpha.shape[:-1]) == (1, 1)
        and layer.alpha.shape[-1] >= FEWEST_CHANNELS_OF_PRELU
    )
