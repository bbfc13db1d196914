"""Files of several arrays (.npz) that anyone may have written."""

import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np


def read_npz(
    path: str | os.PathLike, form_error: Callable[[str | os.PathLike, Any], ValueError]
) -> dict[str, np.ndarray]:
    """Return {name: array} of a file, without running anything that is pickled in it.

    Args:
        path: Path of the file.
        form_error: Function from the path and what was received to the error to raise.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: That of `form_error`, if the file is of another kind or damaged.

    Example:
        >>> np.savez("arrays.npz", keys=["a", "b"])
        >>> read_npz("arrays.npz", lambda path, received: ValueError(received))["keys"].tolist()
        ['a', 'b']
    """
    with open(path, "rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise form_error(path, "a file of another kind")
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as file:
                return {name: np.asanyarray(file[name]) for name in file.files}
        # A damaged archive raises almost anything; none of it helps a user more than this.
        except Exception as error:
            raise form_error(path, error) from error
