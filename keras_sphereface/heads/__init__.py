"""`ASoftmax` and the other classification layers of its family."""

from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads.angular_head import AngularHead
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
from keras_sphereface.heads.registry import make_head
from keras_sphereface.heads.sharded import ShardedHead

__all__ = [
    "HEADS",
    "ASoftmax",
    "AngularHead",
    "ArcFace",
    "CosFace",
    "Head",
    "NormFace",
    "PlainSoftmax",
    "ShardedHead",
    "SoftmaxCenter",
    "SoftmaxContrastive",
    "SphereFace2",
    "SphereFacePlus",
    "SphereFaceR",
    "Triplet",
    "make_head",
]
