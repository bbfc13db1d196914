"""Strategies, collectives, and several workers on one machine."""

from keras_sphereface.distribute.collectives import ClassShard, ReplicaSlice
from keras_sphereface.distribute.launcher import launch
from keras_sphereface.distribute.strategy import make_strategy

__all__ = [
    "ClassShard",
    "ReplicaSlice",
    "launch",
    "make_strategy",
]
