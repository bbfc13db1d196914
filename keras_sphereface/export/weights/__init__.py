"""Weights that others have published: read without Caffe or PyTorch, as networks of Keras.

`import_weights` is imported on first use: files are looked at before Keras is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

from keras_sphereface.export.weights.caffemodel import read_caffemodel
from keras_sphereface.export.weights.files import check_weights_file
from keras_sphereface.export.weights.torch_file import read_torch_file

if TYPE_CHECKING:
    from keras_sphereface.export.weights.sphereface import import_weights

__all__ = [
    "check_weights_file",
    "import_weights",
    "read_caffemodel",
    "read_torch_file",
]


def __getattr__(name: str) -> Any:
    if name == "import_weights":
        module = importlib.import_module(f"{__name__}.sphereface")
        return module.import_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
