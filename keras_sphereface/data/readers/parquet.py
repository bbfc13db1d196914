"""Images in parquet files, as dataset hubs distribute them; needs the extra `parquet`."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from keras_sphereface.data.types import MAX_IMAGE_BYTES, TOO_LARGE, ImageRecord, SkippedImage

if TYPE_CHECKING:
    import pyarrow

LABEL_NAMES = ("label", "labels", "identity", "identity_id", "person", "person_id", "name", "class")
LANDMARKS = "landmarks"
MAX_ROWS, TARGET_BYTES = 256, 64 * 2**20  # in memory at once


def read_parquet(file: BinaryIO, name: str, prefix: str) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of a parquet file, row by row.

    The images are in the one column of bytes, or of structures with a field `bytes`; the
    identities in a column with one of the names `LABEL_NAMES`, or else in the only one of
    integers or text. Class names in the metadata of the `datasets` library are used. A column
    `landmarks` of ten numbers a row gives the five points.

    Args:
        file: The open file.
        name: Str. Its path, for messages.
        prefix: Str. The key of an image is this and the number of its row, from 0.

    Raises:
        ImportError: without pyarrow.
        ValueError: if the file is damaged, or its columns are ambiguous.

    Example:

    >>> import pyarrow, pyarrow.parquet
    >>> table = pyarrow.table({"image": [b"..."], "label": ["ada"]})
    >>> pyarrow.parquet.write_table(table, "faces.parquet")
    >>> with open("faces.parquet", "rb") as file:
    ...     [image.key for image in read_parquet(file, "faces.parquet", "faces/")]
    ['faces/00000000']
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Reading parquet needs pyarrow: pip install 'keras-sphereface[parquet]'"
        ) from error
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{name} is not a parquet file. Received: {error}") from None
    image, label = _columns(table.schema_arrow, name)
    names = _class_names(table.schema_arrow, label)
    with_landmarks = LANDMARKS in table.schema_arrow.names
    columns = [image, label, *([LANDMARKS] if with_landmarks else [])]
    row = 0
    batches = table.iter_batches(_rows_per_batch(table.metadata), columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (pyarrow.ArrowException, OSError):
            yield SkippedImage(name, "the file is damaged from here on")
            return
        if batch is None:
            return
        for values in batch.to_pylist():
            key, row = f"{prefix}{row:08d}", row + 1
            yield _image(key, values[image], values[label], names, values.get(LANDMARKS))


def _image(
    key: str, content: Any, label: int | str | None, names: list[str], points: Any
) -> ImageRecord | SkippedImage:
    content = content.get("bytes") if isinstance(content, dict) else content
    if content is None:
        return SkippedImage(key, "the row holds no image")
    if len(content) > MAX_IMAGE_BYTES:
        return SkippedImage(key, TOO_LARGE)
    if label is None or label == "":
        return SkippedImage(key, "the row names no identity")
    if names and isinstance(label, int) and 0 <= label < len(names):
        label = names[label]
    if points is None:
        return ImageRecord(key, str(label), content)
    try:
        landmarks = np.array(points, np.float64).ravel()
    except (TypeError, ValueError):  # another form, or ragged
        landmarks = np.empty(0)
    if landmarks.shape != (10,) or not np.all(np.isfinite(landmarks)):
        return SkippedImage(key, "its landmarks are not ten finite numbers")
    return ImageRecord(key, str(label), content, landmarks.reshape(5, 2))


def _rows_per_batch(metadata: Any) -> int:
    """Return the number of rows that take about `TARGET_BYTES`."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    largest = max((g.total_byte_size / max(1, g.num_rows) for g in groups), default=1)
    return max(1, min(MAX_ROWS, int(TARGET_BYTES / max(1, largest))))


def _columns(schema: "pyarrow.Schema", name: str) -> tuple[str, str]:
    """Return the names of the columns of images and of identities."""
    import pyarrow.types as types

    def holds_images(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return types.is_binary(kind) or types.is_large_binary(kind)

    def names_identities(kind: Any) -> bool:
        if types.is_dictionary(kind):  # the categories of pandas
            kind = kind.value_type
        return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)

    images = [field.name for field in schema if holds_images(field.type)]
    candidates = [field.name for field in schema if names_identities(field.type)]
    labels = [label for label in LABEL_NAMES if label in candidates][:1] or candidates
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(
            f"{name} must have one column of encoded images (bytes, or a structure with a field "
            f"`bytes`) and one of identities (named {', '.join(LABEL_NAMES)}, or the only one of "
            f"numbers or text). Received: {', '.join(f'{f.name}: {f.type}' for f in schema)}"
        )
    return images[0], labels[0]


def _class_names(schema: Any, label: str) -> list[str]:
    """Return the names that the `datasets` library keeps for a column of class numbers."""
    try:
        described = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]
        return list(described["names"]) if described["_type"] == "ClassLabel" else []
    except (KeyError, TypeError, ValueError):
        return []
