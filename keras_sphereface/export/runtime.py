"""Exported embedding networks, opened by the kind of their file.

Each kind has a module of its own, imported when such a file is opened: an ONNX file needs no
TensorFlow, and a TensorFlow Lite file none where `ai-edge-litert` is installed.
"""

import importlib
import os
from pathlib import Path

from keras_sphereface.export.network import Network
from keras_sphereface.export.network_files import check_network_path

# By the end of the name; a folder has none.
_MODULES = {".tflite": "tflite_runtime", ".onnx": "onnx_runtime"}


def open_network(path: str | os.PathLike) -> Network:
    """Open an exported network: a SavedModel folder, a *.tflite or a *.onnx file.

    Any file with the signature `images` uint8 (N, H, W, 3) -> `embeddings` float32 (N, D) is
    opened, whoever wrote it; N may be fixed. SavedModel and TensorFlow Lite must call this
    signature `serving_default`.

    Raises:
        FileNotFoundError: If there is no file or folder, or no SavedModel in it.
        ValueError: If the file is of another kind or has another signature, which is reported.
        ImportError: For ONNX without onnxruntime; for the others without what runs them.

    Example:
        >>> network = open_network("model")
        >>> network.image_size, network.embedding_size
        ((112, 96), 8)
    """
    path = Path(path)
    check_network_path(path)
    module = _MODULES.get(path.suffix.lower(), "") if path.is_file() else "savedmodel_runtime"
    return importlib.import_module(f"{__package__}.{module}").open_network(path)
