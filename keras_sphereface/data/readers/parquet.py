"""Images in parquet files, as hubs distribute them; needs pyarrow, the extra `parquet`."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from keras_sphereface.data.types import MAX_IMAGE_BYTES, TOO_LARGE, ImageRecord, SkippedImage

if TYPE_CHECKING:
    import pyarrow

PARQUET = "parquet"
LABEL_NAMES = ("label", "labels", "identity", "identity_id", "person", "person_id", "name", "class")
LANDMARKS = "landmarks"
ROWS, BYTES = 256, 64 * 2**20  # in memory at once, at most and about


def parquet_images(file: BinaryIO, name: str, prefix: str) -> Iterator[ImageRecord | SkippedImage]:
    """The images of a parquet file, row by row.

    The images are in the one column of bytes, or of structures with a field `bytes`; who is
    on them in a column with one of the usual names, or the only one of numbers or text. Names
    of classes that a hub keeps in the file's metadata are used. A column `landmarks` of ten
    numbers a row gives the five points. The key is `prefix` and the number of the row, from 0.

    Raises:
        ImportError: without pyarrow.
        ValueError: if the file is damaged, or its columns cannot be told.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Reading parquet needs pyarrow: pip install keras-sphereface[parquet]"
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
    batches = table.iter_batches(_rows_at_once(table.metadata), columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (pyarrow.ArrowException, OSError):
            yield SkippedImage(name, "the file is damaged, and what follows is lost")
            return
        if batch is None:
            return
        for values in batch.to_pylist():
            key, row = f"{prefix}{row:08d}", row + 1
            yield _image(key, values[image], values[label], names, values.get(LANDMARKS))


def _image(key, content, label, names, points):
    content = content.get("bytes") if isinstance(content, dict) else content
    if content is None:
        return SkippedImage(key, "the row holds no image")
    if len(content) > MAX_IMAGE_BYTES:
        return SkippedImage(key, TOO_LARGE)
    if label is None or label == "":
        return SkippedImage(key, "the row names no person")
    if names and isinstance(label, int) and 0 <= label < len(names):
        label = names[label]
    if points is None:
        return ImageRecord(key, str(label), content)
    try:
        landmarks = np.array(points, np.float64).ravel()
    except (TypeError, ValueError):  # of another form, or ragged
        landmarks = np.empty(0)
    if landmarks.shape != (10,) or not np.all(np.isfinite(landmarks)):
        return SkippedImage(key, "its landmarks are not ten finite numbers")
    return ImageRecord(key, str(label), content, landmarks.reshape(5, 2))


def _rows_at_once(metadata: Any) -> int:
    """As many rows as take about `BYTES`."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    largest = max((g.total_byte_size / max(1, g.num_rows) for g in groups), default=1)
    return max(1, min(ROWS, int(BYTES / max(1, largest))))


def _columns(schema: "pyarrow.Schema", name: str) -> tuple[str, str]:
    """The names of the columns of images and of identities."""
    import pyarrow.types as types

    def holds_images(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return types.is_binary(kind) or types.is_large_binary(kind)

    def names_people(kind: Any) -> bool:
        if types.is_dictionary(kind):  # the categories of pandas
            kind = kind.value_type
        return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)

    images = [field.name for field in schema if holds_images(field.type)]
    people = [field.name for field in schema if names_people(field.type)]
    labels = [wanted for wanted in LABEL_NAMES if wanted in people][:1] or people
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(
            f"{name} must have one column of encoded images (bytes, or a structure with a field "
            f"`bytes`) and one of identities (named {', '.join(LABEL_NAMES)}, or the only one of "
            f"numbers or text). Received: {', '.join(f'{f.name}: {f.type}' for f in schema)}"
        )
    return images[0], labels[0]


def _class_names(schema, label) -> list[str]:
    """The names that the `datasets` library keeps for a column of class numbers, if any."""
    try:
        described = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]
        return list(described["names"]) if described["_type"] == "ClassLabel" else []
    except (KeyError, TypeError, ValueError):
        return []
