"""An image as a source holds it -> the face that goes into a record."""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from keras_sphereface.data import alignment, detection, images
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

NO_LANDMARKS, NO_FACE = "no landmarks", "no face detected"


class Face(NamedTuple):
    """The face of an image that can be used.

    Attributes:
        image: Bytes. Encoded image of the requested size.
        digest: 16 bytes, equal only for images whose sources have the same bytes.
        landmarks: Array (5, 2) or None. Points in the source, in pixels, if it was aligned.
    """

    image: bytes
    digest: bytes
    landmarks: np.ndarray | None


class Preparation(NamedTuple):
    """A function that prepares faces, here or in another process.

    Attributes:
        size: Pair of int. Height and width in pixels.
        align: Bool. Warp every face to the five-point template by its landmarks. Without,
            images of the right size are taken byte for byte, and others cropped to the shape at
            their center and resized.
        detect: Bool. Find the landmarks of images that come without.
    """

    size: tuple[int, int] = images.IMAGE_SIZE
    align: bool = False
    detect: bool = False

    @property
    def needs_landmarks(self) -> bool:
        """Return whether an image without landmarks has to be skipped."""
        return self.align and not self.detect

    def __call__(self, block: Sequence[ImageRecord]) -> list[Face | SkippedImage]:
        """Return the face of each image, or why there is none.

        An image that cannot be used does no harm to the others.
        """
        matrices = self._matrices(block) if self.align else [None] * len(block)
        return [self._face(image, matrix) for image, matrix in zip(block, matrices, strict=True)]

    def describe(self) -> str:
        """Return the `alignment` of dataset.json."""
        if not self.align:
            return "none"
        return "five-point similarity" + (", points by MTCNN" if self.detect else "")

    def _face(self, image: ImageRecord, matrix: np.ndarray | None) -> Face | SkippedImage:
        try:
            content = content_of(image)
            digest = hashlib.sha256(content).digest()[:16]
            if not self.align:
                return Face(images.fit(content, self.size), digest, None)
            pixels = images.decode_rgbx(content)
        # Any other OSError is no fault of the image; the run ends, and can continue later.
        except (FileNotFoundError, PermissionError) as error:
            return SkippedImage(image.key, f"cannot be read: {error.strerror}")
        except ValueError as error:
            return SkippedImage(image.key, f"cannot be used: {_without_numbers(str(error))}")
        points = image.landmarks
        if points is None and self.detect:
            points = _detector()(pixels[..., :3])
        if points is None:
            return SkippedImage(image.key, NO_FACE if self.detect else NO_LANDMARKS)
        try:
            face = alignment.align(pixels, points, self.size, matrix)
        except (ValueError, ArithmeticError, cv2.error):
            return SkippedImage(image.key, "its landmarks do not fit the image")
        return Face(images.encode(face), digest, points)

    def _matrices(self, block: Sequence[ImageRecord]) -> list[np.ndarray | None]:
        """Return the transforms of all images that have usable landmarks, from one step."""
        usable = {
            index: image.landmarks
            for index, image in enumerate(block)
            if image.landmarks is not None and _are_usable(image.landmarks)
        }
        matrices: list[np.ndarray | None] = [None] * len(block)
        if usable:
            template = alignment.landmark_template(self.size)
            solved = alignment.similarity_transform(np.stack(list(usable.values())), template)
            for index, matrix in zip(usable, solved, strict=True):
                matrices[index] = matrix
        return matrices


def _are_usable(points: np.ndarray) -> bool:
    # Others would overflow, or divide by nothing, for all faces that are done with theirs.
    return bool(np.abs(points).max() < 1e6 and np.ptp(points, axis=0).max() > 1e-3)


def _without_numbers(message: str) -> str:
    """Return the message with N for numbers, which differ from image to image: it is counted."""
    return re.sub(r"[0-9]+", "N", message)


def content_of(image: ImageRecord) -> bytes:
    """Return the encoded bytes of an image, wherever they lie on this machine.

    Raises:
        OSError, ValueError: if they cannot be read.
    """
    if not isinstance(image.content, ByteRange):
        return image.content
    # Unbuffered: a single read.
    with open(image.content.file, "rb", buffering=0) as file:
        return image.content.read(file)


@functools.cache
def _detector() -> Callable[[np.ndarray], np.ndarray | None]:
    """Return the detector of this process; it takes seconds to make."""
    return detection.make_detector()
