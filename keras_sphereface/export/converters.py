"""A SavedModel's network as TensorFlow Lite or ONNX, for runtimes without TensorFlow.

The files hold the signature `serving_default`, with the names, types and preprocessing of the
SavedModel, and take any number of images where it does.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_sphereface.config.choices import FORMATS
from keras_sphereface.export._quiet import quiet
from keras_sphereface.export.runtime import open_network
from keras_sphereface.export.saved_model import load_savedmodel
from keras_sphereface.export.signature import INPUT, OUTPUT, SIGNATURE
from keras_sphereface.utils.atomic import atomic_file

PRECISIONS = ("float32", "float16", "int8")


class FrozenNetwork(tf.Module):
    """The signature `serving_default` of a SavedModel with its variables made constants.

    The converters cannot calibrate a network that reads variables, and some crash on it.
    """

    def __init__(self, savedmodel: str | os.PathLike):
        super().__init__(name="frozen_network")
        model = load_savedmodel(Path(savedmodel))  # in a variable: it keeps the weights alive
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


def write_format(
    savedmodel: str | os.PathLike,
    folder: str | os.PathLike,
    format_name: str,
    calibration: np.ndarray | None = None,
) -> Path:
    """Write the network of a SavedModel in a format, under the format's file name.

    Args:
        savedmodel: Folder of the SavedModel.
        folder: Folder of the file.
        format_name: A name of `config.choices.FORMATS`, for example "tflite-int8".
        calibration: uint8 (N, H, W, 3), faces for "tflite-int8"; other formats ignore them.

    Returns:
        The file.

    Raises:
        FileNotFoundError, ImportError, ValueError: As `to_tflite` and `to_onnx`.

    Example:
        >>> write_format("model", ".", "tflite-float16").name
        'model-float16.tflite'
    """
    path = Path(folder) / FORMATS[format_name].file
    if format_name == "onnx":
        return to_onnx(savedmodel, path)
    precision = format_name.partition("-")[2] or "float32"
    return to_tflite(savedmodel, path, precision, calibration if precision == "int8" else None)


def to_tflite(
    savedmodel: str | os.PathLike,
    path: str | os.PathLike,
    precision: str = "float32",
    calibration: np.ndarray | None = None,
) -> Path:
    """Write the network of a SavedModel as a TensorFlow Lite file.

    Args:
        savedmodel: Folder of the SavedModel.
        path: File, NAME.tflite.
        precision: "float32"; "float16", weights of half the size; "int8", weights and activations
            of 8 bits. Input is uint8 and output float32 in all of them.
        calibration: uint8 (N, H, W, 3), for "int8" and only there: some hundred faces like those
            to come. Their activations set the ranges of the integers.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no SavedModel.
        ValueError: If an argument is invalid, the SavedModel has another signature, or TensorFlow
            Lite cannot express the network.

    Example:
        >>> to_tflite("model", "small.tflite", precision="float16").name
        'small.tflite'
    """
    target = _checked_path(path, ".tflite")
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}. Received: {precision=}")
    if (precision == "int8") != (calibration is not None):
        received = "no `calibration`" if calibration is None else "a `calibration`"
        raise ValueError(
            "`calibration` images are needed for precision='int8', and only there. "
            f"Received: {precision=} and {received}"
        )
    network = FrozenNetwork(savedmodel)
    if calibration is not None:
        _check_calibration(calibration, network.spec)
    with _conversion_errors("TensorFlow Lite", savedmodel), quiet():
        _write_checked(_tflite_converter(network, precision, calibration).convert(), target)
    return target


def to_onnx(savedmodel: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write the network of a SavedModel as an ONNX file, float32.

    Args:
        savedmodel: Folder of the SavedModel.
        path: File, NAME.onnx.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no SavedModel.
        ImportError: Without tf2onnx or onnxruntime.
        ValueError: If the file has another suffix, the SavedModel has another signature, or ONNX
            cannot express the network.

    Example:
        >>> to_onnx("model", "network.onnx").name
        'network.onnx'
    """
    target = _checked_path(path, ".onnx")
    try:
        with quiet():
            import tf2onnx
    except ImportError as error:
        raise ImportError(
            "Writing ONNX needs tf2onnx: pip install 'keras-sphereface[onnx]'"
        ) from error
    network = FrozenNetwork(savedmodel)
    with _conversion_errors("ONNX", savedmodel), quiet():
        model, _ = tf2onnx.convert.from_function(network.serve, [network.spec])
        _write_checked(model.SerializeToString(), target)
    return target


def _tflite_converter(
    network: FrozenNetwork, precision: str, calibration: np.ndarray | None
) -> tf.lite.TFLiteConverter:
    function = network.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if calibration is not None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        size = network.spec.shape[0] or 1
        converter.representative_dataset = lambda: (
            {INPUT: np.resize(calibration[start : start + size], (size, *calibration.shape[1:]))}
            for start in range(0, len(calibration), size)
        )
    return converter


def _write_checked(content: bytes, path: Path) -> None:
    """Write a file that takes its place only if it opens as a network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        try:
            partial.write_bytes(content)
            open_network(partial)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _conversion_errors(format_name: str, savedmodel: str | os.PathLike) -> Iterator[None]:
    """Turn what a converter raises, of whatever class, into a ValueError with its reason."""
    try:
        yield
    except (ImportError, OSError):
        raise
    except Exception as error:
        # The message continues with the network itself, over many lines.
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


def _check_calibration(calibration: np.ndarray, spec: tf.TensorSpec) -> None:
    shape, dtype = np.shape(calibration), getattr(calibration, "dtype", None)
    if dtype != np.uint8 or len(shape) != 4 or not shape[0] or shape[1:] != tuple(spec.shape[1:]):
        raise ValueError(
            f"`calibration` must be uint8 (N, {', '.join(map(str, spec.shape[1:]))}) with N >= 1. "
            f"Received: {dtype} {shape}"
        )
