"""Images as base64 text in a table, as MS-Celeb-1M was published (`.tsv`)."""

import base64
import binascii
import os
import re
from collections.abc import Iterator

from keras_sphereface.data.types import MAX_IMAGE_BYTES, TOO_LARGE, ImageRecord, SkippedImage
from keras_sphereface.utils.text import numbered_lines

NOT_BASE64 = "its last column is not base64"
FIRST_LINE_BYTES = 1 << 16  # the columns before the image, with two URLs among them
# Paths, which lists have there, hold a dot.
_IMAGE_COLUMN = re.compile(rb"^[^\n]*\t[A-Za-z0-9+/=]{256,}")


def is_base64_table(path: str | os.PathLike) -> bool:
    """Return whether the first line of a file has a column with an image as base64 text."""
    with open(path, "rb") as file:
        return holds_base64_image(file.read(FIRST_LINE_BYTES))


def holds_base64_image(head: bytes) -> bool:
    """Return whether a file that begins with these `FIRST_LINE_BYTES` is such a table."""
    return _IMAGE_COLUMN.match(head) is not None


def read_base64_table(path: str | os.PathLike) -> Iterator[ImageRecord | SkippedImage]:
    """Yield the images of a table: the identity in the first column, the image in the last.

    Keys are `identity/rank-FaceId-0.jpg`, as the images of MS-Celeb-1M are commonly unpacked, and
    `identity/LINE.jpg` where a table has no such columns.

    Raises:
        ValueError: naming the line, if it has less than two columns.

    Reference: Guo et al., "MS-Celeb-1M: A dataset and benchmark for large-scale face recognition",
    ECCV 2016.

    Example:

    >>> encoded = base64.b64encode(b"\\xff\\xd8\\xff" + bytes(60)).decode()
    >>> with open("faces.tsv", "w") as file:
    ...     _ = file.write(f"m.0107_f\\t1\\tFaceId-0\\t{encoded}\\n")
    >>> next(read_base64_table("faces.tsv")).key
    'm.0107_f/1-FaceId-0.jpg'
    """
    for number, line in numbered_lines(path):
        identity, *columns = line.split("\t")
        if not columns:
            raise ValueError(
                f"{path}, line {number}: expected `identity<TAB>...<TAB>image as base64`. "
                f"Received: {line[:60]!r}"
            )
        encoded = columns.pop()
        face = next((name for name in columns if name.startswith("FaceId-")), None)
        key = f"{identity}/{f'{columns[0]}-{face}' if face else number}.jpg"
        if len(encoded) > MAX_IMAGE_BYTES * 4 // 3 + 4:
            yield SkippedImage(key, TOO_LARGE)
            continue
        try:
            content = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            yield SkippedImage(key, NOT_BASE64)
            continue
        yield ImageRecord(key, identity, content)
