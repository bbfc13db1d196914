"""`ASoftmax` and the other classification layers of its family."""

from keras_sphereface.backend import BACKEND, tensorflow_names
from keras_sphereface.heads.adacos import AdaCos
from keras_sphereface.heads.adaface import AdaFace
from keras_sphereface.heads.angular_head import AngularHead
from keras_sphereface.heads.arcface import ArcFace
from keras_sphereface.heads.asoftmax import ASoftmax
from keras_sphereface.heads.base import Head
from keras_sphereface.heads.center import SoftmaxCenter
from keras_sphereface.heads.circle import Circle
from keras_sphereface.heads.contrastive import SoftmaxContrastive
from keras_sphereface.heads.cosface import CosFace
from keras_sphereface.heads.curricularface import CurricularFace
from keras_sphereface.heads.elasticface import ElasticFace
from keras_sphereface.heads.embedding_classifier import EmbeddingClassifier
from keras_sphereface.heads.magface import MagFace
from keras_sphereface.heads.normface import NormFace
from keras_sphereface.heads.registry import head_class, make_head
from keras_sphereface.heads.softmax import PlainSoftmax
from keras_sphereface.heads.sphereface2 import SphereFace2
from keras_sphereface.heads.sphereface_plus import SphereFacePlus
from keras_sphereface.heads.sphereface_r import SphereFaceR
from keras_sphereface.heads.subcenter_arcface import SubCenterArcFace
from keras_sphereface.heads.triplet import Triplet
from keras_sphereface.heads.uniface import UniFace

if BACKEND == "tensorflow":  # its strategies shard; on JAX `keras.distribution` does
    from keras_sphereface.heads.prototype_queue import PrototypeQueue
    from keras_sphereface.heads.sharded import ShardedHead

__all__ = [
    "ASoftmax",
    "AdaCos",
    "AdaFace",
    "AngularHead",
    "ArcFace",
    "Circle",
    "CosFace",
    "CurricularFace",
    "ElasticFace",
    "EmbeddingClassifier",
    "Head",
    "MagFace",
    "NormFace",
    "PlainSoftmax",
    "PrototypeQueue",
    "ShardedHead",
    "SoftmaxCenter",
    "SoftmaxContrastive",
    "SphereFace2",
    "SphereFacePlus",
    "SphereFaceR",
    "SubCenterArcFace",
    "Triplet",
    "UniFace",
    "head_class",
    "make_head",
]
if BACKEND != "tensorflow":
    for name in ("PrototypeQueue", "ShardedHead"):
        __all__.remove(name)

__getattr__ = tensorflow_names(__name__, "PrototypeQueue", "ShardedHead")
