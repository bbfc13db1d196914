"""Strategies, collectives, and several workers on one machine.

The names below are imported on first use: the heads need the collectives on every backend, and the
rest is TensorFlow's.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sphereface.distribute.collectives import ClassShard, ReplicaSlice
    from keras_sphereface.distribute.launcher import launch
    from keras_sphereface.distribute.strategy import make_strategy

__all__ = [
    "ClassShard",
    "ReplicaSlice",
    "launch",
    "make_strategy",
]

_MODULES = {
    "collectives": ("ClassShard", "ReplicaSlice"),
    "launcher": ("launch",),
    "strategy": ("make_strategy",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
