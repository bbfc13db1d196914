"""Checks of the paths that settings name, before anything heavy is imported."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from keras_sphereface.config.fields import flag_of
from keras_sphereface.config.suggestions import path_hint, with_hint

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KINDS = {"file": "a file", "folder": "a folder", "input": "a file or a folder"}


def check_paths(config: "DataclassInstance") -> None:
    """Check that the paths that settings name exist, and that results can be written.

    Paths with a scheme, as gs://bucket/file, are not looked up.

    Raises:
        FileNotFoundError: If there is nothing, with the name that is nearest in the folder.
        NotADirectoryError, IsADirectoryError: If it is a file in place of a folder, or reverse.
        FileExistsError: If a folder of results would be below a file.
        PermissionError: If nothing may be written there.

    Example:
        >>> from keras_sphereface.config import TrainConfig
        >>> check_paths(TrainConfig(data="recrods"))
        Traceback (most recent call last):
        FileNotFoundError: `--data` must be a folder that exists. Received: recrods...
    """
    for field in dataclasses.fields(config):
        for path in _paths_of(getattr(config, field.name), field.metadata["path"]):
            if field.metadata["path"] in KINDS:
                _check_input(field, path)
            else:
                _check_output(flag_of(field.name), path, field.metadata["path"])


def _paths_of(value: Any, kind: str) -> list[str]:
    """The paths of a value that this machine can look up."""
    values = value if isinstance(value, tuple) else (value,)
    return [path for path in values if kind and path and "://" not in path]


def _check_input(field: dataclasses.Field, path: str) -> None:
    flag, kind = flag_of(field.name), field.metadata["path"]
    if not os.path.exists(path):
        message = f"`{flag}` must be {KINDS[kind]} that exists. Received: {path}"
        raise FileNotFoundError(with_hint(message, path_hint(path) or field.metadata["origin"]))
    is_folder = os.path.isdir(path)
    if kind == "folder" and not is_folder:
        raise NotADirectoryError(f"`{flag}` must be a folder. Received: {path}, which is a file")
    if kind == "file" and is_folder:
        raise IsADirectoryError(f"`{flag}` must be a file. Received: {path}, which is a folder")


def _check_output(flag: str, path: str, kind: str) -> None:
    """A folder can be made, or a file written; the nearest that exists above it decides."""
    if kind == "output-file" and os.path.isdir(path):
        raise IsADirectoryError(f"`{flag}` must be a file. Received: {path}, which is a folder")
    existing = os.path.abspath(path if kind == "output" else os.path.dirname(path))
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise FileExistsError(
            f"`{flag}` must be in a folder. Received: {path}, but {existing} is a file"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f"`{flag}` must be where files may be written. Received: {path}, but nothing may be "
            f"written to {existing}"
        )
