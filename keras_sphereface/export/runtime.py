"""Exported embedding networks, opened by the kind of their file.

Each kind has a module of its own, imported when such a file is opened: an ONNX file needs no
TensorFlow, and a TensorFlow Lite file none where `ai-edge-litert` is installed.
"""

import os
from pathlib import Path

from keras_sphereface.export.network import Network
from keras_sphereface.export.network_files import check_network_path


def open_network(path: str | os.PathLike) -> Network:
    """Open a network: a SavedModel folder, or a *.keras, *.tflite or *.onnx file.

    Any file with the signature `images` uint8 (N, H, W, 3) -> `embeddings` float32 (N, D) is
    opened, whoever wrote it; N may be fixed. SavedModel and TensorFlow Lite must call this
    signature `serving_default`. A .keras file is opened as `load_backbone` does: a head at its end
    is left out.

    Args:
        path: The folder or file.

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
    if path.is_dir():
        from keras_sphereface.export.savedmodel_runtime import open_savedmodel

        return open_savedmodel(path)
    if path.suffix.lower() == ".tflite":
        from keras_sphereface.export.tflite_runtime import open_tflite

        return open_tflite(path)
    if path.suffix.lower() == ".keras":
        from keras_sphereface.export.keras_runtime import open_keras

        return open_keras(path)
    from keras_sphereface.export.onnx_runtime import open_onnx

    return open_onnx(path)
