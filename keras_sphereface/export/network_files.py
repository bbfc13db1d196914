"""Which paths are networks, found out without TensorFlow."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from keras_sphereface.export.signature import NETWORK_FILES

ONNX_MODULES = ("tf2onnx", "onnx", "onnxruntime")
SAVEDMODEL_FILE = "saved_model.pb"
SUFFIXES = (".keras", ".tflite", ".onnx")
OLD_KERAS_SUFFIXES = (".h5", ".hdf5")


def check_network_path(path: str | os.PathLike) -> None:
    """Refuse a path that is no network, and name the one that is probably meant.

    Args:
        path: The path.

    Raises:
        FileNotFoundError: If there is nothing, or a folder without a SavedModel.
        ValueError: If it is a file of another kind.

    Example:
        >>> check_network_path("model")
        >>> check_network_path("model/saved_model.pb")
        Traceback (most recent call last):
        ValueError: A network must be ... Received: model/saved_model.pb. Give its folder, model
    """
    path = Path(path)
    if (path / SAVEDMODEL_FILE).is_file():
        return
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return
    error = ValueError if path.is_file() else FileNotFoundError
    raise error(f"A network must be {NETWORK_FILES}. Received: {path}{_what_it_is(path)}")


def check_savedmodel_path(path: str | os.PathLike, name: str = "network") -> None:
    """Refuse a path that is no SavedModel folder, and tell how a .keras file becomes one.

    Args:
        path: The path.
        name: What it names, for the message.

    Raises:
        FileNotFoundError, ValueError: As `check_network_path`.

    Example:
        >>> check_savedmodel_path("model")
    """
    check_network_path(path)
    path = Path(path)
    if path.is_dir():
        return
    hint = ""
    if path.suffix.lower() == ".keras":
        hint = f". Make one of it first: sphereface export --model {path} --out exported"
    raise ValueError(f"`{name}` must be a SavedModel folder. Received: {name}={path}{hint}")


def check_savedmodel_folder(folder: Path) -> None:
    """Refuse a folder for a SavedModel that holds something else.

    Raises:
        FileExistsError: If it does.
    """
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / SAVEDMODEL_FILE).is_file()
    ):
        raise FileExistsError(
            "The folder of the exported network must be new or hold a SavedModel; choose another "
            f"output folder. Received: {folder}"
        )


def check_onnx_installed(formats: Sequence[str]) -> None:
    """Raise an ImportError with the extra to install, unless ONNX files can be written."""
    if not all(map(importlib.util.find_spec, ONNX_MODULES)):
        raise ImportError(
            "The format onnx needs pip install 'keras-sphereface[onnx]'; without it, leave the "
            f"format out by --formats. Received: formats={formats}"
        )


def _what_it_is(path: Path) -> str:
    """The end of the message: what the path is, and what to do next."""
    if not path.exists():
        return ", which does not exist"
    if path.name == SAVEDMODEL_FILE:
        return f". Give its folder, {path.parent}"
    if path.suffix.lower() in OLD_KERAS_SUFFIXES:
        return '. Load and save it with Keras first: model.save("network.keras")'
    if path.is_file():
        return ""
    without = f", a folder without {SAVEDMODEL_FILE}"
    for near in (*sorted(path.glob(f"*/{SAVEDMODEL_FILE}")), path.parent / SAVEDMODEL_FILE):
        if near.is_file():
            return f"{without}. The network is in {near.parent}"
    if (path / "checkpoints").is_dir():
        return (
            f"{without}, of a training that has not ended: the same sphereface train command "
            "continues it, and writes the network at its end"
        )
    return without
