"""A picture as a source gives it: who is on it, and its bytes or where they lie."""

from typing import BinaryIO, NamedTuple

import numpy as np

# No face needs more; what is larger is no picture, or made to do harm.
MAX_PICTURE_BYTES = 64 * 2**20
TOO_LARGE = "the picture has more than 64 MiB"


class Span(NamedTuple):
    """Bytes of a file that are one encoded picture, stored as they are."""

    file: str
    offset: int
    size: int

    def read(self, file: BinaryIO) -> bytes:
        """The bytes, from the open `file`.

        Raises:
            ValueError: if they are too many, or the file ends before them.
        """
        if self.size > MAX_PICTURE_BYTES:
            raise ValueError(TOO_LARGE)
        file.seek(self.offset)
        content = file.read(self.size)
        if len(content) < self.size:
            raise ValueError("the file ends in the middle of the picture")
        return content


class Picture(NamedTuple):
    """One picture of one person.

    Attributes:
        key: its name, unique in a source: the path below the root, with slashes.
        identity: who it is.
        content: the encoded bytes, or where they lie.
        landmarks: (5, 2) points in pixels, if the source has them.
    """

    key: str
    identity: str
    content: bytes | Span
    landmarks: np.ndarray | None = None


class Dropped(NamedTuple):
    """What a source holds and no record does, and why."""

    key: str
    reason: str
