"""The heads by name, as `--head` takes them."""

import functools
from collections.abc import Callable
from typing import Any

from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.batch_heads import SoftmaxCenter, SoftmaxContrastive, Triplet
from keras_sphereface.heads.family import (
    ArcFace,
    CosFace,
    NormFace,
    PlainSoftmax,
    SphereFace2,
    SphereFacePlus,
    SphereFaceR,
)

LAYERS: dict[str, type[Head]] = {
    layer.__name__: layer
    for layer in (
        *(PlainSoftmax, NormFace, ASoftmax, SphereFacePlus, SphereFaceR, SphereFace2, CosFace),
        *(ArcFace, SoftmaxContrastive, SoftmaxCenter, Triplet),
    )
}
# Arguments beside `HeadChoice.settings`: those of every head, and of heads with class weights.
COMMON = frozenset({"name", "dtype"})
OF_CLASS_WEIGHTS = frozenset({"seed", "kernel_initializer", "kernel_regularizer"})


def head_class(kind: str) -> Callable[..., Head]:
    """The class of a head, with the arguments that its name stands for.

    Args:
        kind: One of `HEADS`.

    Raises:
        ValueError: If there is no such head.
    """
    if kind not in HEADS:
        raise ValueError(f"`head` must be one of {', '.join(HEADS)}. Received: head={kind!r}")
    return functools.partial(LAYERS[HEADS[kind].layer], **HEADS[kind].fixed)


def make_head(kind: str, num_classes: int, **settings: Any) -> Head:
    """A head by its name; a setting that is None is left at the head's own default.

    Args:
        kind: One of `HEADS`.
        num_classes: Int >= 2. C, the number of classes.
        **settings: Arguments of the head.

    Raises:
        ValueError: If there is no such head, or it does not take a setting.

    Example:

    >>> make_head("cosface", num_classes=10, m=0.2).m
    0.2
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
