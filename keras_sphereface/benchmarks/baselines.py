"""The least that any conversion must do, as what the benchmark compares ours with.

In a module of its own: what other processes run must not bring TensorFlow with it.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from keras_sphereface.data import images


def decode_and_encode(files: Iterable[Path]) -> None:
    """Decode each image, and encode a face from its corner."""
    height, width = images.IMAGE_SIZE
    for file in files:
        images.encode(images.decode(file.read_bytes())[:height, :width])


def copy(folder: Path, files: Iterable[Path]) -> None:
    """Copy each image to FOLDER/IDENTITY."""
    for file in files:
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.parent.name / file.name)
