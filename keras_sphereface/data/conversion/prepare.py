"""An image as a source holds it -> the face that goes into a record."""

import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from keras_sphereface.data import (
    alignment,
    detection,
    face_measures,
    images,
    mtcnn,
    near_duplicates,
)
from keras_sphereface.data.types import ByteRange, ImageRecord, SkippedImage

NO_LANDMARKS, NO_FACE = "no landmarks", "no face detected"


class EncodedFace(NamedTuple):
    """The face of an image that can be used.

    Attributes:
        image: Bytes. Encoded image of the requested size.
        digest: 16 bytes, equal only for images whose sources have the same bytes.
        landmarks: Array (5, 2) or None. Points in the source, in pixels, if it was aligned.
        quality: FaceFindings or None. What its measures show, if it was measured.
    """

    image: bytes
    digest: bytes
    landmarks: np.ndarray | None
    quality: "FaceFindings | None" = None


class FaceFindings(NamedTuple):
    """What the measures of a face show.

    Attributes:
        findings: Int. Bits of `face_measures.KINDS`.
        hash: 32 bytes, alike for faces that look alike; None without the package `ImageHash`.
    """

    findings: int
    hash: bytes | None


class _Prepared(NamedTuple):
    """A face before it is measured, which is done for a block of images at once."""

    face: EncodedFace
    thumbnail: np.ndarray | None
    num_faces: int = 1


class Preparation(NamedTuple):
    """A function that prepares faces, here or in another process.

    Attributes:
        size: Pair of int. Height and width in pixels.
        align: Bool. Warp every face to the five-point template by its landmarks. Without,
            images of the right size are taken byte for byte, and others cropped to the shape at
            their center and resized.
        detect: Bool. Find the landmarks of images that come without.
        measure: Bool. Measure the quality of every face.
    """

    size: tuple[int, int] = images.IMAGE_SIZE
    align: bool = False
    detect: bool = False
    measure: bool = False

    @property
    def needs_landmarks(self) -> bool:
        """Return whether an image without landmarks has to be skipped."""
        return self.align and not self.detect

    def __call__(self, block: Sequence[ImageRecord]) -> list[EncodedFace | SkippedImage]:
        """Return the face of each image, or why there is none.

        An image that cannot be used does no harm to the others.
        """
        matrices = self._matrices(block) if self.align else [None] * len(block)
        prepared = [self._face(*each) for each in zip(block, matrices, strict=True)]
        if self.measure:
            return _measured(prepared)
        return [each if isinstance(each, SkippedImage) else each.face for each in prepared]

    def describe(self) -> str:
        """Return the `alignment` of dataset.json."""
        if not self.align:
            return "none"
        return "five-point similarity" + (", points by MTCNN" if self.detect else "")

    def _face(self, image: ImageRecord, matrix: np.ndarray | None) -> _Prepared | SkippedImage:
        try:
            content = content_of(image)
            digest = hashlib.sha256(content).digest()[:16]
            if not self.align:
                return self._fitted(content, digest)
            pixels = images.decode_rgbx(content)
        # Any other OSError is no fault of the image; the run ends, and can continue later.
        except (FileNotFoundError, PermissionError) as error:
            return SkippedImage(image.key, f"cannot be read: {error.strerror}")
        except ValueError as error:
            return SkippedImage(image.key, f"cannot be used: {_without_numbers(str(error))}")
        points, num_faces = image.landmarks, 1
        if points is None and self.detect:
            detected = _detector()(pixels[..., :3])
            if detected is not None:
                points, num_faces = detected
        if points is None:
            return SkippedImage(image.key, NO_FACE if self.detect else NO_LANDMARKS)
        try:
            face = alignment.align(pixels, points, self.size, matrix)
        except (ValueError, ArithmeticError, cv2.error):
            return SkippedImage(image.key, "its landmarks do not fit the image")
        thumbnail = face_measures.thumbnail(face)[..., :3] if self.measure else None
        return _Prepared(EncodedFace(images.encode(face), digest, points), thumbnail, num_faces)

    def _fitted(self, content: bytes, digest: bytes) -> _Prepared:
        if not self.measure:
            return _Prepared(EncodedFace(images.fit(content, self.size), digest, None), None)
        reduced = face_measures.thumbnail_size(self.size)
        image, pixels = images.fit_reduced(content, self.size, reduced)
        thumbnail = face_measures.thumbnail(pixels, self.size)
        return _Prepared(EncodedFace(image, digest, None), thumbnail)

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


def _measured(block: Sequence[_Prepared | SkippedImage]) -> list[EncodedFace | SkippedImage]:
    """Return the faces of a block with what their measures show."""
    prepared = [each for each in block if isinstance(each, _Prepared)]
    if not prepared:
        return [each for each in block if isinstance(each, SkippedImage)]
    thumbnails = np.stack([each.thumbnail for each in prepared if each.thumbnail is not None])
    findings = iter(face_measures.measure_faces(thumbnails).findings().tolist())
    hashes: Iterator[bytes | None] = itertools.repeat(None)
    if near_duplicates.is_imagehash_installed():
        hashes = (each.tobytes() for each in near_duplicates.face_hashes(thumbnails))
    faces: list[EncodedFace | SkippedImage] = []
    for each in block:
        if isinstance(each, SkippedImage):
            faces.append(each)
            continue
        several = each.num_faces > 1 and face_measures.bit_of(face_measures.SEVERAL_FACES)
        quality = FaceFindings(next(findings) | several, next(hashes))
        faces.append(each.face._replace(quality=quality))
    return faces


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
def _detector() -> Callable[[np.ndarray], detection.Detection | None]:
    """Return the detector of this process."""
    return detection.nearest_face_detector(mtcnn.mtcnn_detector())
