"""The backbone of a run by its name."""

import functools
import importlib
import os
import sys
from collections.abc import Callable

import keras

from keras_sphereface.config.choices import NETWORKS
from keras_sphereface.models.sphereface import sphereface

Backbone = Callable[..., keras.Model]  # called with input_shape, embedding_size and seed


def backbone_by_name(name: str, width: float = 1.0) -> Backbone:
    """Return the function that makes a network.

    Args:
        name: One of `config.choices.NETWORKS`, or `module:function` for a network of the user's
            own, which may be any Keras model from images to vectors.
        width: Float > 0. Factor on the channels of a SphereFace network.

    Returns:
        A function of `input_shape`, `embedding_size` and `seed` that returns a `keras.Model`.

    Raises:
        ValueError: If there is no such network.

    Example:
        >>> make = backbone_by_name("sphereface4", width=0.05)
        >>> make(input_shape=(28, 24, 3), embedding_size=8, seed=0).output_shape
        (None, 8)
    """
    if ":" in name:
        return _imported(name)
    if name not in NETWORKS:
        raise ValueError(
            f"`backbone` must be one of {', '.join(NETWORKS)} or module:function. "
            f"Received: backbone={name!r}"
        )
    return functools.partial(sphereface, NETWORKS[name].depth, width=width)


def _imported(name: str) -> Backbone:
    module, function = name.split(":", 1)
    if os.getcwd() not in sys.path:  # a script sees its own folder only
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"`backbone` must name a function in a module that can be imported: {error}. "
            f"Received: backbone={name!r}"
        ) from error


def name_of_backbone(backbone: Backbone) -> str:
    """Return `module:function`, as `--backbone` takes it, if the function has such a name."""
    named = backbone if hasattr(backbone, "__qualname__") else type(backbone)
    return f"{named.__module__}:{named.__qualname__}"
