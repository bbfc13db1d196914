"""SphereFace for Keras: A-Softmax, its networks, its data path and its evaluation.

The names below are what most users need. The modules below them are in folders:
`functional` (the mathematics), `heads`, `losses`, `layers`, `models`, `data`, `metrics` (numbers),
`plots` (figures), `evaluation`, `export`, `callbacks` and `training`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_sphereface.utils import startup
from keras_sphereface.version import __version__

if TYPE_CHECKING:
    from keras_sphereface.recognition.face_recognizer import FaceRecognizer

# Keras and TensorFlow take seconds and most of a gigabyte to import. The command `sphereface` and
# processes that only prepare images do without, or import this package whole when they need it.
if not startup.is_lean():
    with startup.without_start_up_lines():
        from keras_sphereface.backend import BACKEND, tensorflow_names
        from keras_sphereface.callbacks.convergence_guard import ConvergenceGuard
        from keras_sphereface.heads import (
            AdaCos,
            AdaFace,
            ArcFace,
            Circle,
            CosFace,
            CurricularFace,
            ElasticFace,
            MagFace,
            NormFace,
            PlainSoftmax,
            SphereFace2,
            SphereFacePlus,
            SphereFaceR,
            SubCenterArcFace,
            UniFace,
        )
        from keras_sphereface.heads.asoftmax import ASoftmax
        from keras_sphereface.heads.embedding_classifier import EmbeddingClassifier
        from keras_sphereface.losses.head_loss import ASoftmaxLoss, HeadLoss, embedding_norm
        from keras_sphereface.models.sphereface import (
            sphereface,
            sphereface4,
            sphereface10,
            sphereface20,
            sphereface36,
            sphereface64,
        )

        if BACKEND == "tensorflow":
            from keras_sphereface.layers.face_preprocessing import FacePreprocessing
    _tensorflow_name = tensorflow_names(__name__, "FacePreprocessing")


def __getattr__(name: str) -> Any:
    if name == "FaceRecognizer":  # no class of Keras; it needs OpenCV, which takes a moment
        return importlib.import_module(f"{__name__}.recognition").FaceRecognizer
    if "_tensorflow_name" in globals():
        return _tensorflow_name(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ASoftmax",
    "ASoftmaxLoss",
    "AdaCos",
    "AdaFace",
    "ArcFace",
    "Circle",
    "ConvergenceGuard",
    "CosFace",
    "CurricularFace",
    "ElasticFace",
    "EmbeddingClassifier",
    "FacePreprocessing",
    "FaceRecognizer",
    "HeadLoss",
    "MagFace",
    "NormFace",
    "PlainSoftmax",
    "SphereFace2",
    "SphereFacePlus",
    "SphereFaceR",
    "SubCenterArcFace",
    "UniFace",
    "__version__",
    "embedding_norm",
    "sphereface",
    "sphereface4",
    "sphereface10",
    "sphereface20",
    "sphereface36",
    "sphereface64",
]
if not startup.is_lean() and BACKEND != "tensorflow":
    __all__.remove("FacePreprocessing")
