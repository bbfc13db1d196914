"""An image as a source gives it: who is on it, and its bytes or where they lie."""

from typing import BinaryIO, NamedTuple

import numpy as np

# No face needs more; what is larger is no image, or made to do harm.
MAX_IMAGE_BYTES = 64 * 2**20
TOO_LARGE = "the image has more than 64 MiB"


class ByteRange(NamedTuple):
    """Bytes of a file that are one encoded image, stored as they are."""

    file: str
    offset: int
    size: int

    def read(self, file: BinaryIO) -> bytes:
        """The bytes, from the open `file`.

        Raises:
            ValueError: if they are too many, or the file ends before them.
        """
        if self.size > MAX_IMAGE_BYTES:
            raise ValueError(TOO_LARGE)
        file.seek(self.offset)
        content = file.read(self.size)
        if len(content) < self.size:
            raise ValueError("the file ends in the middle of the image")
        return content


class ImageRecord(NamedTuple):
    """One image of one person.

    Attributes:
        key: its name, unique in a source: the path below the root, with slashes.
        identity: who it is.
        content: the encoded bytes, or where they lie.
        landmarks: (5, 2) points in pixels, if the source has them.
    """

    key: str
    identity: str
    content: bytes | ByteRange
    landmarks: np.ndarray | None = None


class SkippedImage(NamedTuple):
    """What a source holds and no record does, and why."""

    key: str
    reason: str
