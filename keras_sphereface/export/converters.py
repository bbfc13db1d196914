"""A SavedModel's network as TensorFlow Lite or ONNX, for runtimes without TensorFlow.

The files hold one view, `serving_default`, with the names, types and preprocessing of the
SavedModel, and take any number of images where it does.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_sphereface.export.runtime import (
    INPUT,
    OUTPUT,
    SIGNATURE,
    load_savedmodel,
    open_network,
    without_noise,
)
from keras_sphereface.utils.atomic import atomic_file

KINDS = ("float32", "float16", "int8")
# What a format's file is called beside others.
FORMATS = {
    "tflite": "model.tflite",
    "tflite-float16": "model-float16.tflite",
    "tflite-int8": "model-int8.tflite",
    "onnx": "model.onnx",
}


class FrozenNetwork(tf.Module):
    """The one view of a SavedModel with its variables made constants.

    The converters cannot calibrate a network that reads variables, and some crash on it.
    """

    def __init__(self, savedmodel: str | os.PathLike):
        super().__init__(name="frozen_network")
        model = load_savedmodel(Path(savedmodel))  # named: it keeps the variables alive
        signature = model.signatures[SIGNATURE]
        shape = signature.structured_input_signature[1][INPUT].shape
        self.spec = tf.TensorSpec(shape, tf.uint8, name=INPUT)
        one_output = tf.function(
            lambda images: signature(**{INPUT: images})[OUTPUT], [self.spec], autograph=False
        )
        frozen = convert_variables_to_constants_v2(one_output.get_concrete_function())
        self.serve = tf.function(
            lambda images: {OUTPUT: frozen(images)[0]}, [self.spec], autograph=False
        )


def to_tflite(
    savedmodel: str | os.PathLike,
    path: str | os.PathLike,
    kind: str = "float32",
    calibration: np.ndarray | None = None,
) -> Path:
    """Write the network of a SavedModel as a TensorFlow Lite file.

    Args:
        savedmodel: its folder.
        path: the file, NAME.tflite.
        kind: "float32"; "float16", weights of half the size; "int8", weights and activations of
            8 bits. The input is uint8 and the output float32 in all of them.
        calibration: uint8 (N, H, W, 3), for "int8" and only there: faces as those to come, whose
            activations set the ranges. Some hundred do.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ValueError: if an argument is not as it should be, the SavedModel has another signature,
            or the format cannot express it.
    """
    target = _checked_path(path, ".tflite")
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
    if (kind == "int8") != (calibration is not None):
        received = "no `calibration`" if calibration is None else "a `calibration`"
        raise ValueError(
            "`calibration` images are needed for kind='int8', and only there. "
            f"Received: kind={kind!r} and {received}"
        )
    network = FrozenNetwork(savedmodel)
    if calibration is not None:
        _check_calibration(calibration, network.spec)
    with _explained("TensorFlow Lite", savedmodel), without_noise():
        _write(_tflite_converter(network, kind, calibration).convert(), target)
    return target


def to_onnx(savedmodel: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write the network of a SavedModel as an ONNX file, float32.

    Args:
        savedmodel: its folder.
        path: the file, NAME.onnx.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ImportError: without tf2onnx or onnxruntime.
        ValueError: if the file is called otherwise, the SavedModel has another signature, or the
            format cannot express it.
    """
    target = _checked_path(path, ".onnx")
    try:
        with without_noise():
            import tf2onnx
    except ImportError as error:
        raise ImportError(
            "Writing ONNX needs tf2onnx: pip install keras-sphereface[onnx]"
        ) from error
    network = FrozenNetwork(savedmodel)
    with _explained("ONNX", savedmodel), without_noise():
        model, _ = tf2onnx.convert.from_function(network.serve, [network.spec])
        _write(model.SerializeToString(), target)
    return target


def _tflite_converter(network, kind, calibration):
    function = network.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        size = network.spec.shape[0] or 1
        converter.representative_dataset = lambda: (
            {INPUT: np.resize(calibration[start : start + size], (size, *calibration.shape[1:]))}
            for start in range(0, len(calibration), size)
        )
    return converter


def _write(content, path):
    """Write a file, which stands there only if it opens as the network it should be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        try:
            partial.write_bytes(content)
            open_network(partial)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _explained(format_name: str, savedmodel) -> Iterator[None]:
    """Turn what a converter raises, of whatever class, into an error that says what failed."""
    try:
        yield
    except (ImportError, OSError):
        raise
    except Exception as error:
        # The rest of what they say, over many lines, is the network itself.
        reason = " ".join(str(error).split())[:500]
        raise ValueError(
            f"{format_name} cannot express the network, or its converter fails: {reason}. "
            f"Received: {savedmodel}"
        ) from error


def _checked_path(path: str | os.PathLike, suffix: str) -> Path:
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise ValueError(f"`path` must end in {suffix}. Received: {path}")
    return path


def _check_calibration(calibration, spec):
    shape, dtype = np.shape(calibration), getattr(calibration, "dtype", None)
    if dtype != np.uint8 or len(shape) != 4 or not shape[0] or shape[1:] != tuple(spec.shape[1:]):
        raise ValueError(
            f"`calibration` must be uint8 (N, {', '.join(map(str, spec.shape[1:]))}) with N >= 1. "
            f"Received: {dtype} {shape}"
        )
