"""One image as a source gives it -> the face that goes into a record."""

import functools
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from keras_sphereface.config import ConvertConfig
from keras_sphereface.data import alignment, detection, images
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

NO_LANDMARKS, NO_FACE = "no landmarks", "no face was found"


class Face(NamedTuple):
    """What becomes of an image that can be used.

    Attributes:
        image: encoded, of the size that was asked for.
        digest: 16 bytes, equal only for images whose source has the same bytes.
        landmarks: (5, 2) points in the source, if it was aligned.
    """

    image: bytes
    digest: bytes
    landmarks: np.ndarray | None


class Preparation(NamedTuple):
    """How faces are prepared; call it with images, here or in another process.

    Attributes:
        size: height and width.
        align: lay every face on the template by its landmarks; without, images of the right
            size are taken byte for byte and others cropped to the shape at their center.
        detect: find the landmarks of images that come without.
    """

    size: tuple[int, int] = images.IMAGE_SIZE
    align: bool = False
    detect: bool = False

    def __call__(self, pictures: Sequence[ImageRecord]) -> list[Face | SkippedImage]:
        """The face of each image, or why there is none; whatever is wrong with one image,
        the others do not suffer."""
        matrices = self._matrices(pictures) if self.align else [None] * len(pictures)
        return [
            self._face(picture, matrix) for picture, matrix in zip(pictures, matrices, strict=True)
        ]

    def describe(self) -> str:
        """What stands in dataset.json of the alignment."""
        if not self.align:
            return "none"
        return "five-point similarity" + (", points by MTCNN" if self.detect else "")

    def _face(self, picture, matrix):
        try:
            content = content_of(picture)
            digest = hashlib.sha256(content).digest()[:16]
            if not self.align:
                return Face(images.fit(content, self.size), digest, None)
            image = images.decode(content)
        # Any other OSError is no fault of the image; the run ends, and can go on later.
        except (FileNotFoundError, PermissionError) as error:
            return SkippedImage(picture.key, f"cannot be read: {error.strerror}")
        except ValueError as error:
            return SkippedImage(picture.key, f"cannot be used: {_without_numbers(str(error))}")
        points = picture.landmarks
        if points is None and self.detect:
            points = _detector()(image)
        if points is None:
            return SkippedImage(picture.key, NO_FACE if self.detect else NO_LANDMARKS)
        try:
            face = alignment.align(image, points, self.size, matrix)
        except (ValueError, ArithmeticError, cv2.error):
            return SkippedImage(picture.key, "its landmarks do not fit the image")
        return Face(images.encode(face), digest, points)

    def _matrices(self, pictures):
        """The transforms of all images that have usable landmarks, in one step."""
        usable = [
            i
            for i, picture in enumerate(pictures)
            if picture.landmarks is not None and _are_usable(picture.landmarks)
        ]
        matrices: list[np.ndarray | None] = [None] * len(pictures)
        if usable:
            points = np.stack([pictures[i].landmarks for i in usable])
            found = alignment.similarity_transform(points, alignment.landmark_template(self.size))
            for i, matrix in zip(usable, found, strict=True):
                matrices[i] = matrix
        return matrices


def _are_usable(points: np.ndarray) -> bool:
    # Others would overflow, or divide by nothing, for all faces that are done with theirs.
    return bool(np.abs(points).max() < 1e6 and np.ptp(points, axis=0).max() > 1e-3)


def _without_numbers(message: str) -> str:
    """The message as one that can be counted: numbers differ from image to image."""
    return re.sub(r"[0-9]+", "N", message)


def preparation_of(config: ConvertConfig) -> Preparation:
    """How the settings ask for faces to be prepared."""
    align = bool(config.align or config.landmarks or config.detect)
    return Preparation((config.height, config.width), align, config.detect)


def content_of(picture: ImageRecord) -> bytes:
    """The encoded bytes of an image, wherever they lie on this machine.

    Raises:
        OSError, ValueError: if they cannot be read.
    """
    if not isinstance(picture.content, ByteRange):
        return picture.content
    # Unbuffered: one read of what is wanted.
    with open(picture.content.file, "rb", buffering=0) as file:
        return picture.content.read(file)


@functools.cache
def _detector():
    """One a process: it takes seconds to make."""
    return detection.make_detector()
