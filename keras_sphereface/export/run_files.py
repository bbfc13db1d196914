"""Where the trained network of a run is, found out without TensorFlow."""

import os
from pathlib import Path

from keras_sphereface.config.train import RUN_FILE, SETTINGS_FILE
from keras_sphereface.export.network_files import SAVEDMODEL_FILE

EXPORT_FOLDER = "export"
NETWORK_FILE = "network.keras"  # that a run leaves beside its export
WEIGHT_SUFFIXES = (".caffemodel", ".pth")


def check_start_path(path: str | os.PathLike) -> None:
    """Refuse a path that no training can start from; it is not opened.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it is something else, or a run that has not ended.

    Example:
        >>> check_start_path("model")
        >>> check_start_path("faces")
        Traceback (most recent call last):
        ValueError: `start_from` must be the folder of a run, a SavedModel folder, ...
    """
    path = Path(path)
    is_file = path.is_file() and path.suffix.lower() in (".keras", *WEIGHT_SUFFIXES)
    run = run_of(path)
    if is_file or (path / SAVEDMODEL_FILE).is_file() or (run and network_of_run(run)):
        return
    rule = (
        "`start_from` must be the folder of a run, a SavedModel folder, a .keras file, or weights "
        "of Caffe or PyTorch (.caffemodel, .pth)"
    )
    if not path.exists():
        raise FileNotFoundError(f"{rule}. Received: {path}, which does not exist")
    if run:
        raise ValueError(
            f"{rule}. Received: {path}, a run that has not ended: the same sphereface train "
            "command continues it, and writes the network at its end"
        )
    near = " Its parent may be meant" if path.name == "checkpoints" else ""
    raise ValueError(f"{rule}. Received: {path}.{near}")


def run_of(path: Path) -> Path | None:
    """Return the folder of the run that a path belongs to: itself, or that of its export."""
    folders = [path] if path.is_dir() else []
    if path.name in (EXPORT_FOLDER, NETWORK_FILE) and path.exists():
        folders.append(path.parent)
    for folder in folders:
        if (folder / SETTINGS_FILE).is_file() and (folder / RUN_FILE).is_file():
            return folder
    return None


def network_of_run(run: Path) -> Path | None:
    """Return what holds the network of a run: its export first, which any Keras reads.

    None: the run has not ended.
    """
    if (run / EXPORT_FOLDER / SAVEDMODEL_FILE).is_file():
        return run / EXPORT_FOLDER
    return run / NETWORK_FILE if (run / NETWORK_FILE).is_file() else None
