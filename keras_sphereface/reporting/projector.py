"""Embeddings as files for the Projector tab of TensorBoard."""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_sphereface.utils.atomic import atomic_file

CONFIG, METADATA, SPRITE = "projector_config.pbtxt", "metadata.tsv", "sprite.png"
MAX_SPRITE_SIDE = 8192  # pixels a side that TensorBoard takes
NAME = re.compile(r"[\w.=+-]+(?: [\w.=+-]+)*")


def write_projector(
    folder: str | os.PathLike[str],
    embeddings: Mapping[str, np.ndarray],
    metadata: Mapping[str, Sequence[object]],
    images: np.ndarray | None = None,
) -> None:
    """Write what `tensorboard --logdir FOLDER` shows in its Projector tab.

    The config that names the other files is removed first and written last, so TensorBoard never
    shows a part of a set.

    Args:
        folder: Created if it does not exist.
        embeddings: {name: (N, D)} sets of the same N images, for example one for each network.
        metadata: {name: N values}, for example {"identity": names}. TensorBoard shows the name of
            a column only if there are several. White space in a value becomes one blank.
        images: uint8 (N, H, W, 3) RGB, shown at their points; they shrink to fit on one sheet of
            8192 x 8192 pixels.

    Raises:
        ValueError: if there is no set or no column, a name cannot be a file name, or arrays have
            other shapes or numbers that are not finite.

    Example:
        >>> rows = np.eye(3, dtype=np.float32)
        >>> write_projector("projector", {"softmax": rows}, {"identity": ["ann", "ann", "bob"]})
        >>> sorted(path.name for path in Path("projector").iterdir())
        ['metadata.tsv', 'projector_config.pbtxt', 'tensors-softmax.tsv']
    """
    _check_embeddings(embeddings, metadata)
    count = len(next(iter(embeddings.values())))
    _check_columns(metadata, count)
    _check_images(images, count)
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
        sprite, size = _sprite(images)
        with atomic_file(folder / SPRITE) as partial:
            sprite.save(partial)
    with atomic_file(folder / CONFIG) as partial:
        partial.write_text(_config_text(embeddings, size), encoding="utf-8")


def _check_embeddings(
    embeddings: Mapping[str, np.ndarray], metadata: Mapping[str, Sequence[object]]
) -> None:
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
            raise ValueError(f"`embeddings` must be finite. Received: nan or infinity in {name!r}")


def _check_columns(metadata: Mapping[str, Sequence[object]], count: int) -> None:
    for name, column in metadata.items():
        if len(column) != count:
            raise ValueError(
                f"The columns of `metadata` must have {count} values, as `embeddings` has rows. "
                f"Received: {name!r} with {len(column)}"
            )


def _check_images(images: np.ndarray | None, count: int) -> None:
    if images is None:
        return
    shape, dtype = np.shape(images), np.asarray(images).dtype
    if len(shape) != 4 or shape[0] != count or shape[3] != 3 or 0 in shape or dtype != np.uint8:
        raise ValueError(f"`images` must be uint8 ({count}, H, W, 3). Received: {dtype} {shape}")


def _tensor_file(name: str) -> str:
    return f"tensors-{name}.tsv"


def _metadata_text(metadata: Mapping[str, Sequence[object]]) -> str:
    """Write a line for each image; by TensorBoard's rule only several columns have a header."""
    lines: list[Iterable[object]] = list(zip(*metadata.values(), strict=True))
    if len(metadata) > 1:
        lines.insert(0, metadata)
    return "".join("\t".join(map(_cell, line)) + "\n" for line in lines)


def _cell(value: object) -> str:
    text = str(value).encode("utf-8", "replace").decode()
    # TensorBoard trims lines and skips empty ones: rows would shift.
    return " ".join(text.split()) or "-"


def _sprite(images: np.ndarray) -> tuple[Image.Image, tuple[int, int]]:
    """Return a square sheet of the images row by row, and the (width, height) of one on it."""
    count, height, width, _ = images.shape
    side = math.ceil(math.sqrt(count))
    scale = min(1.0, MAX_SPRITE_SIDE // side / max(height, width))
    size = max(1, int(width * scale)), max(1, int(height * scale))
    sprite = Image.new("RGB", (side * size[0], side * size[1]))
    for index, pixels in enumerate(images):
        image = Image.fromarray(pixels)
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        sprite.paste(image, (index % side * size[0], index // side * size[1]))
    return sprite, size


def _config_text(embeddings: Mapping[str, np.ndarray], size: tuple[int, int] | None) -> str:
    # Imported here: TensorBoard takes a while.
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
