"""The backbone of a run by its name."""

import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import keras

from keras_sphereface.config.choices import KERAS_PREFIX, NETWORKS, START_PREFIX
from keras_sphereface.models.embedding_network import embedding_network
from keras_sphereface.models.keras_network import keras_network
from keras_sphereface.models.sphereface import sphereface

Backbone = Callable[..., keras.Model]  # called with input_shape, embedding_size and seed


def backbone_by_name(name: str, width: float = 1.0, batch_norm: bool = False) -> Backbone:
    """Return the function that makes a network.

    Args:
        name: One of `config.choices.NETWORKS`; `keras:NAME` for a network of
            `keras.applications`; or `module:function` for a network of the user's own, which may
            be any Keras model from images to vectors.
        width: Float > 0. Factor on the channels of a SphereFace network.
        batch_norm: Bool. Whether a SphereFace network has batch normalization.

    Returns:
        A function of `input_shape`, `embedding_size` and `seed` that returns a `keras.Model`.

    Raises:
        ValueError: If there is no such network.

    Example:
        >>> make = backbone_by_name("sphereface4", width=0.05)
        >>> make(input_shape=(28, 24, 3), embedding_size=8, seed=0).output_shape
        (None, 8)
    """
    if name.startswith(KERAS_PREFIX):
        return functools.partial(keras_network, name.removeprefix(KERAS_PREFIX))
    if ":" in name:
        return _imported(name)
    if name not in NETWORKS:
        raise ValueError(
            f"`backbone` must be one of {', '.join(NETWORKS)}, keras:NAME or module:function. "
            f"Received: backbone={name!r}"
        )
    return functools.partial(sphereface, NETWORKS[name].depth, width=width, batch_norm=batch_norm)


def _imported(name: str) -> Backbone:
    module, function = name.split(":", 1)
    if os.getcwd() not in sys.path:  # a script sees its own folder only
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    # Whatever is wrong with a user's own module is for the user to mend.
    except Exception as error:
        raise ValueError(
            "`backbone` must name a function in a module that can be imported. Received: "
            f"backbone={name!r}, and {_in_words(error)}"
        ) from error


def make_network(
    make: Backbone,
    name: str,
    input_shape: tuple[int, int, int],
    input_range: str | None = None,
    **arguments: Any,
) -> keras.Model:
    """Call the function of a backbone, and return what it makes as a network for training.

    Args:
        make: The function.
        name: Its name, for messages.
        input_shape: (H, W, 3) of the images.
        input_range: "raw" if the network takes pixels 0..255, "unit" if it takes values in
            [-1, 1); None: found out, see `models.input_contract`.
        **arguments: `embedding_size` and `seed`.

    Returns:
        A network from float images in [-1, 1) to embeddings; see `models.embedding_network`.

    Raises:
        ValueError: If a user's own function fails, or returns no Keras model from images to
            vectors.

    Example:
        >>> make_network(lambda **arguments: None, "mine:network", (112, 96, 3))
        Traceback (most recent call last):
        ValueError: A network must be a Keras model. Received: NoneType, of backbone=mine:network
    """
    try:
        network = make(input_shape=input_shape, **arguments)
    except Exception as error:
        if ":" not in name or name.startswith(START_PREFIX):
            raise
        rule = (
            "The images must be large enough for a network of keras.applications."
            if name.startswith(KERAS_PREFIX)
            else "`backbone` must name a function of `input_shape`, `embedding_size` and `seed` "
            "that returns a Keras model."
        )
        message = f"{rule} Received: backbone={name!r}, and {_in_words(error)}"
        raise ValueError(message) from error
    try:
        return embedding_network(network, input_shape[:2], input_range)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}, of backbone={name}") from error


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def name_of_backbone(backbone: Backbone) -> str:
    """Return `module:function`, as `--backbone` takes it.

    Args:
        backbone: A function, or a class, at the top level of a module.

    Raises:
        ValueError: If it is not had by such a name: a lambda, a function within another, a
            `functools.partial`, or a network instead of the function that makes it.

    Example:
        >>> from keras_sphereface.models import sphereface4
        >>> name_of_backbone(sphereface4)
        'keras_sphereface.models.sphereface:sphereface4'
    """
    module, name = (getattr(backbone, key, "") for key in ("__module__", "__qualname__"))
    # Not imported: the module of a script that is running would run again.
    if not name or getattr(sys.modules.get(module), name, None) is not backbone:
        raise ValueError(
            "`backbone` must be a function at the top level of a module, def network(input_shape, "
            "embedding_size, seed), so that the run is recorded by its name and can be continued "
            "and repeated; write one around a lambda, a partial, an inner function or an object. "
            f"Received: backbone={backbone!r}"
        )
    return f"{module}:{name}"
