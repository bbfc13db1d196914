"""SavedModel, TensorFlow Lite and ONNX files: written, opened, run."""

from keras_sphereface.export.converters import to_onnx, to_tflite, write_format
from keras_sphereface.export.runtime import Network, open_network
from keras_sphereface.export.saved_model import export_savedmodel

__all__ = [
    "Network",
    "export_savedmodel",
    "open_network",
    "to_onnx",
    "to_tflite",
    "write_format",
]
