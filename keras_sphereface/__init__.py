"""SphereFace for Keras: A-Softmax, its networks, its data path and its evaluation.

The names below are what most users need. The parts under them are modules of their own:
`angular` (the mathematics), `verification` and `separability` (numbers), `plotting`,
`conversion`, `pipeline`, `training`, `export` and `evaluation`.
"""

from keras_sphereface.backbones import (
    sphereface,
    sphereface4,
    sphereface10,
    sphereface20,
    sphereface36,
    sphereface64,
)
from keras_sphereface.layers import ASoftmax
from keras_sphereface.losses import ASoftmaxLoss, unpack_head_output
from keras_sphereface.version import __version__

__all__ = [
    "ASoftmax",
    "ASoftmaxLoss",
    "__version__",
    "sphereface",
    "sphereface4",
    "sphereface10",
    "sphereface20",
    "sphereface36",
    "sphereface64",
    "unpack_head_output",
]
