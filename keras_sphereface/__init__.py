"""SphereFace for Keras: A-Softmax, its networks, its data path and its evaluation.

The names below are what most users need. The parts under them are modules of their own:
`angular` (the mathematics), `protocols`, `identification` and `separability` (numbers),
`plots` (figures), `conversion`, `pipeline`, `training`, `export`, `evaluation` and
`gallery_evaluation`.
"""

import os

from keras_sphereface.version import __version__

# Processes that only prepare pictures need neither Keras nor TensorFlow, which take seconds
# and most of a gigabyte each to import; `parallel` starts them with this set.
if not os.environ.get("KERAS_SPHEREFACE_DATA_ONLY"):
    from keras_sphereface.backbones import (
        sphereface,
        sphereface4,
        sphereface10,
        sphereface20,
        sphereface36,
        sphereface64,
    )
    from keras_sphereface.family import (
        ArcFace,
        CosFace,
        NormFace,
        PlainSoftmax,
        SphereFace2,
        SphereFacePlus,
        SphereFaceR,
    )
    from keras_sphereface.guard import ConvergenceGuard
    from keras_sphereface.layers import ASoftmax
    from keras_sphereface.losses import ASoftmaxLoss, HeadLoss, embedding_norm
    from keras_sphereface.preprocessing_layer import FacePreprocessing

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
