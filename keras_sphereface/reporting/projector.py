"""Embeddings as files for the Projector tab of TensorBoard."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_sphereface.utils.atomic import atomic_file

CONFIG, METADATA, SPRITE = "projector_config.pbtxt", "metadata.tsv", "sprite.png"
LARGEST_SHEET = 8192  # pixels a side that TensorBoard takes
NAME = re.compile(r"[\w.=+-]+(?: [\w.=+-]+)*")


def write_projector(
    folder: str | os.PathLike,
    embeddings: Mapping[str, np.ndarray],
    metadata: Mapping[str, Sequence],
    images: np.ndarray | None = None,
) -> None:
    """Write what `tensorboard --logdir FOLDER` shows in its Projector tab.

    The file that names the others comes last, and an older one goes first: what is there is whole.

    Args:
        folder: made if it is not there.
        embeddings: sets of the same N images, (N, D) each, by name: one network each, say.
        metadata: columns of N values by name, for example {"person": names}. TensorBoard shows
            the name of a column only if there are several. White space is one blank in them.
        images: uint8 (N, H, W, 3) RGB, shown at their points; shrunk if they do not fit on one
            sheet of 8192 x 8192 pixels.

    Raises:
        ValueError: if there is no set or no column, a name is no file name, or arrays have other
            shapes or numbers that are not finite.
    """
    _check(embeddings, metadata, images)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    for name, rows in embeddings.items():
        with atomic_file(folder / _tensor_file(name)) as partial:
            # Nine digits are every float32 exactly.
            np.savetxt(partial, np.asarray(rows, np.float32), fmt="%.9g", delimiter="\t")
    with atomic_file(folder / METADATA) as partial:
        partial.write_text(_metadata_text(metadata), encoding="utf-8", newline="\n")
    size = None
    if images is not None:
        sheet, size = _sheet(images)
        with atomic_file(folder / SPRITE) as partial:
            sheet.save(partial)
    with atomic_file(folder / CONFIG) as partial:
        partial.write_text(_config_text(embeddings, size), encoding="utf-8")


def _check(embeddings, metadata, images):
    if not embeddings or not metadata:
        raise ValueError(
            "`embeddings` must hold at least one set and `metadata` at least one column. "
            f"Received: {len(embeddings)} and {len(metadata)}"
        )
    count = len(next(iter(embeddings.values())))
    for name, rows in embeddings.items():
        if not NAME.fullmatch(name):
            raise ValueError(
                "The names of `embeddings` may have letters, digits, single blanks and . _ = + -. "
                f"Received: {name!r}"
            )
        shape = np.shape(rows)
        if len(shape) != 2 or shape[0] != count or 0 in shape:
            raise ValueError(
                "`embeddings` must be (N, D) each, of the same N images, at least one. "
                f"Received: {name!r} of shape {shape}, the first with N = {count}"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"`embeddings` must be finite. Received: {name!r} with others")
    for name, column in metadata.items():
        if len(column) != count:
            raise ValueError(
                f"The columns of `metadata` must have {count} values, as `embeddings` has rows. "
                f"Received: {name!r} with {len(column)}"
            )
    if images is not None:
        shape, kind = np.shape(images), np.asarray(images).dtype
        if len(shape) != 4 or shape[0] != count or shape[3] != 3 or 0 in shape or kind != np.uint8:
            raise ValueError(f"`images` must be uint8 ({count}, H, W, 3). Received: {kind} {shape}")


def _tensor_file(name):
    return f"tensors-{name}.tsv"


def _metadata_text(metadata):
    """One line an image; by TensorBoard's rule one column has no header, several have one."""
    lines = list(zip(*metadata.values(), strict=True))
    if len(metadata) > 1:
        lines.insert(0, tuple(metadata))
    return "".join("\t".join(map(_cell, line)) + "\n" for line in lines)


def _cell(value):
    text = str(value).encode("utf-8", "replace").decode()
    # TensorBoard trims lines and passes over empty ones: rows would shift.
    return " ".join(text.split()) or "-"


def _sheet(images):
    """A square sheet of the images row by row, and the (width, height) of one on it."""
    count, height, width, _ = images.shape
    side = math.ceil(math.sqrt(count))
    shrunk = min(1.0, LARGEST_SHEET // side / max(height, width))
    size = max(1, int(width * shrunk)), max(1, int(height * shrunk))
    sheet = Image.new("RGB", (side * size[0], side * size[1]))
    for index, picture in enumerate(images):
        image = Image.fromarray(picture)
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(image, (index % side * size[0], index // side * size[1]))
    return sheet, size


def _config_text(embeddings, size):
    # Only now: TensorBoard takes a while to import.
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    for name, rows in embeddings.items():
        entry = config.embeddings.add()
        entry.tensor_name, entry.tensor_path = name, _tensor_file(name)
        entry.tensor_shape.extend(np.shape(rows))
        entry.metadata_path = METADATA
        if size:
            entry.sprite.image_path = SPRITE
            entry.sprite.single_image_dim.extend(size)
    return text_format.MessageToString(config)
