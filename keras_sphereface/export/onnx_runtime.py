"""ONNX files, opened and run with onnxruntime, without TensorFlow."""

from pathlib import Path
from typing import Any

from keras_sphereface.export._quiet import quiet
from keras_sphereface.export.network import Network, network_of
from keras_sphereface.export.signature import INPUT, OUTPUT, TensorInfo


def open_onnx(path: Path) -> Network:
    """Open an .onnx file; see `export.runtime.open_network`."""
    try:
        with quiet():
            import onnxruntime
    except ImportError as error:
        raise ImportError(
            "Opening an ONNX network needs onnxruntime: pip install 'keras-sphereface[onnx]'"
        ) from error
    # Other providers are listed even on machines where they cannot run.
    providers = {"CUDAExecutionProvider", "CPUExecutionProvider"}
    available = [name for name in onnxruntime.get_available_providers() if name in providers]
    try:
        with quiet():
            session = onnxruntime.InferenceSession(str(path), providers=available)
    except Exception as error:  # onnxruntime's errors share no narrower class
        raise ValueError(f"{path} is not an ONNX network that can be run: {error}") from error
    inputs, outputs = (
        {node.name: _tensor_info(node) for node in nodes}
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return network_of(path, inputs, outputs, lambda batch: session.run([OUTPUT], {INPUT: batch})[0])


def _tensor_info(node: Any) -> TensorInfo:
    # Types are called "tensor(float)"; an open size has a name instead of a number.
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in node.shape or ())
    return TensorInfo({"float": "float32", "double": "float64"}.get(dtype, dtype), shape or None)
