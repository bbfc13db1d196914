"""SavedModel, TensorFlow Lite and ONNX files: written, opened, run.

The names below are imported on first use: paths are checked before TensorFlow is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_sphereface.export.backbone import load_backbone, without_head
    from keras_sphereface.export.converters import to_onnx, to_tflite, write_format
    from keras_sphereface.export.crops import with_crops
    from keras_sphereface.export.network import Network
    from keras_sphereface.export.projection import export_projected
    from keras_sphereface.export.recognition_file import (
        CarriedOver,
        OrdinaryNorms,
        Recognition,
        RecognitionThreshold,
        model_fingerprint,
        read_recognition,
        recognition_path,
        write_recognition,
    )
    from keras_sphereface.export.runtime import open_network
    from keras_sphereface.export.saved_model import export_savedmodel

__all__ = [
    "CarriedOver",
    "Network",
    "OrdinaryNorms",
    "Recognition",
    "RecognitionThreshold",
    "export_projected",
    "export_savedmodel",
    "load_backbone",
    "model_fingerprint",
    "open_network",
    "read_recognition",
    "recognition_path",
    "to_onnx",
    "to_tflite",
    "with_crops",
    "without_head",
    "write_format",
    "write_recognition",
]

_MODULES = {
    "backbone": ("load_backbone", "without_head"),
    "converters": ("to_onnx", "to_tflite", "write_format"),
    "crops": ("with_crops",),
    "network": ("Network",),
    "projection": ("export_projected",),
    "recognition_file": (
        "CarriedOver",
        "OrdinaryNorms",
        "Recognition",
        "RecognitionThreshold",
        "model_fingerprint",
        "read_recognition",
        "recognition_path",
        "write_recognition",
    ),
    "runtime": ("open_network",),
    "saved_model": ("export_savedmodel",),
}
_WITHOUT_KERAS = ("crops", "network", "recognition_file", "runtime")


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            if module not in _WITHOUT_KERAS:
                backend = importlib.import_module("keras_sphereface.backend")
                backend.only_tensorflow(f"{__name__}.{name}")
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
