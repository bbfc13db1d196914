"""SavedModel, TensorFlow Lite and ONNX files: written, opened, run.

The names below are imported on first use: paths are checked before TensorFlow is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sphereface.export.backbone import load_backbone, without_head
    from keras_sphereface.export.converters import to_onnx, to_tflite, write_format
    from keras_sphereface.export.runtime import Network, open_network
    from keras_sphereface.export.saved_model import export_savedmodel

__all__ = [
    "Network",
    "export_savedmodel",
    "load_backbone",
    "open_network",
    "to_onnx",
    "to_tflite",
    "without_head",
    "write_format",
]

_MODULES = {
    "backbone": ("load_backbone", "without_head"),
    "converters": ("to_onnx", "to_tflite", "write_format"),
    "runtime": ("Network", "open_network"),
    "saved_model": ("export_savedmodel",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            if module != "runtime":  # it runs files that need no Keras
                backend = importlib.import_module("keras_sphereface.backend")
                backend.only_tensorflow(f"{__name__}.{name}")
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
