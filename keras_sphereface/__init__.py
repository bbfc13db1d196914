"""SphereFace for Keras: A-Softmax, its networks, its data path and its evaluation.

The names below are what most users need. The modules below them are in folders:
`functional` (the mathematics), `heads`, `losses`, `layers`, `models`, `data`, `metrics` (numbers),
`plots` (figures), `evaluation`, `export`, `callbacks` and `training`.
"""

import os

from keras_sphereface.version import __version__

# Processes that only prepare images need neither Keras nor TensorFlow, which take seconds
# and most of a gigabyte each to import; `parallel` starts them with this set.
if not os.environ.get("KERAS_SPHEREFACE_DATA_ONLY"):
    from keras_sphereface.callbacks.convergence_guard import ConvergenceGuard
    from keras_sphereface.heads import (
        ArcFace,
        CosFace,
        NormFace,
        PlainSoftmax,
        SphereFace2,
        SphereFacePlus,
        SphereFaceR,
    )
    from keras_sphereface.heads.asoftmax import ASoftmax
    from keras_sphereface.layers.face_preprocessing import FacePreprocessing
    from keras_sphereface.losses.head_loss import ASoftmaxLoss, HeadLoss, embedding_norm
    from keras_sphereface.models.sphereface import (
        sphereface,
        sphereface4,
        sphereface10,
        sphereface20,
        sphereface36,
        sphereface64,
    )

__all__ = [
    "ASoftmax",
    "ASoftmaxLoss",
    "ArcFace",
    "ConvergenceGuard",
    "CosFace",
    "FacePreprocessing",
    "HeadLoss",
    "NormFace",
    "PlainSoftmax",
    "SphereFace2",
    "SphereFacePlus",
    "SphereFaceR",
    "__version__",
    "embedding_norm",
    "sphereface",
    "sphereface4",
    "sphereface10",
    "sphereface20",
    "sphereface36",
    "sphereface64",
]
