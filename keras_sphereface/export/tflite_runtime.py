"""TensorFlow Lite files, opened and run; without TensorFlow where `ai-edge-litert` is installed."""

import contextlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_sphereface.export._quiet import quiet
from keras_sphereface.export.network import Network, network_of
from keras_sphereface.export.signature import (
    INPUT,
    OUTPUT,
    SIGNATURE,
    TensorInfo,
    check_signature_name,
)


def open_tflite(path: Path) -> Network:
    """Open a .tflite file; see `export.runtime.open_network`."""
    try:
        with quiet():
            interpreter = _interpreter_class()(model_path=str(path), num_threads=os.cpu_count())
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not a TensorFlow Lite network: {error}") from error
    check_signature_name(path, interpreter.get_signature_list())
    runner = interpreter.get_signature_runner(SIGNATURE)
    inputs, outputs = (
        {name: _tensor_info(details) for name, details in tensors.items()}
        for tensors in (runner.get_input_details(), runner.get_output_details())
    )
    return network_of(path, inputs, outputs, lambda batch: runner(**{INPUT: batch})[OUTPUT])


def _tensor_info(details: Mapping[str, Any]) -> TensorInfo:
    # No shape means an open rank: networks have no scalars.
    shape = tuple(None if size == -1 else int(size) for size in details["shape_signature"])
    return TensorInfo(np.dtype(details["dtype"]).name, shape or None)


def _interpreter_class() -> Any:
    """The interpreter of the small package of its own, or else that of TensorFlow."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter
    try:
        return importlib.import_module("tensorflow").lite.Interpreter
    except ImportError as error:
        raise ImportError(
            "A .tflite network needs TensorFlow, or the smaller ai-edge-litert: pip install "
            "ai-edge-litert. Received: an environment without them"
        ) from error
