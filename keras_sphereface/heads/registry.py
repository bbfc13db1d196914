"""The heads by name, as `--head` takes them."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads.base import Head

# Arguments beside `HeadChoice.settings`: those of every head, and of heads with class weights.
COMMON = frozenset({"name", "dtype"})
OF_CLASS_WEIGHTS = frozenset({"seed", "kernel_initializer", "kernel_regularizer"})


def head_class(kind: str) -> Callable[..., Head]:
    """Return the class of a head, with the arguments that its name stands for.

    Args:
        kind: One of `config.choices.HEADS`.

    Raises:
        ValueError: If there is no such head.

    Example:
        >>> head_class("triplet-hard")(num_classes=3).mining
        'hard'
    """
    if kind not in HEADS:
        raise ValueError(f"`head` must be one of {', '.join(HEADS)}. Received: head={kind!r}")
    # Resolved when called: while this module is imported the package still lacks its heads.
    heads = importlib.import_module("keras_sphereface.heads")
    return functools.partial(getattr(heads, HEADS[kind].layer), **HEADS[kind].fixed)


def make_head(kind: str, num_classes: int, **settings: Any) -> Head:
    """Return a head by its name; a setting that is None is left at the head's own default.

    Args:
        kind: One of `config.choices.HEADS`.
        num_classes: Int >= 2. C, the number of classes.
        **settings: Arguments of the head, as `HEADS[kind].settings` lists them; also `name`,
            `dtype`, and with class weights `seed`, `kernel_initializer` and `kernel_regularizer`.

    Raises:
        ValueError: If there is no such head, or it does not take a setting.

    Example:
        >>> make_head("cosface", num_classes=10, m=0.2, scale=None).get_config()["scale"]
        64.0
    """
    layer, choice = head_class(kind), HEADS[kind]
    allowed = COMMON | choice.settings.keys()
    if choice.has_class_weights:
        allowed |= OF_CLASS_WEIGHTS
    settings = {name: value for name, value in settings.items() if value is not None}
    for name in sorted(settings.keys() - allowed):
        raise ValueError(
            f"The head {kind} has no `{name}`; it takes {', '.join(sorted(allowed))}. "
            f"Received: {name}={settings[name]!r}"
        )
    return layer(num_classes, **settings)
