"""Images as a source gives them: identity, and encoded bytes or the place where they are stored."""

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:  # records are looked up without it, before anything else is imported
    import numpy as np

# A guard against damaged and malicious files: no image of a face is larger.
MAX_IMAGE_BYTES = 64 * 2**20
TOO_LARGE = "the image has more than 64 MiB"


class ByteRange(NamedTuple):
    """Bytes of a file that hold one encoded image as it is.

    Attributes:
        file: Path.
        offset: Bytes before the image.
        size: Bytes of the image.

    Example:

    >>> place = ByteRange("faces/pairs.txt", offset=0, size=3)
    >>> with open(place.file, "rb") as file:
    ...     place.read(file)
    b'7\\t4'
    """

    file: str
    offset: int
    size: int

    def read(self, file: BinaryIO) -> bytes:
        """Return the bytes, read from the open `file`.

        Raises:
            ValueError: if there are more than 64 MiB, or the file ends before them.
        """
        if self.size > MAX_IMAGE_BYTES:
            raise ValueError(TOO_LARGE)
        file.seek(self.offset)
        content = file.read(self.size)
        if len(content) < self.size:
            raise ValueError("the file ends in the middle of the image")
        return content


class ImageRecord(NamedTuple):
    """One image of one identity, as a source gives it.

    Attributes:
        key: Name, unique in a source: the path below the root, with slashes.
        identity: Name of the identity.
        content: The encoded bytes, or where they are stored.
        landmarks: (5, 2) points in pixels, if the source has them.

    Example:

    >>> record = ImageRecord("ada/1.jpg", "ada", b"...")
    >>> record.identity, record.landmarks
    ('ada', None)
    """

    key: str
    identity: str
    content: bytes | ByteRange
    landmarks: "np.ndarray | None" = None


class SkippedImage(NamedTuple):
    """An entry of a source that becomes no record.

    Attributes:
        key: Name of the entry.
        reason: Why it is skipped; equal for all entries with the same fault.

    Example:

    >>> SkippedImage("ada/notes.txt", "the name has no image suffix")
    SkippedImage(key='ada/notes.txt', reason='the name has no image suffix')
    """

    key: str
    reason: str
