"""Detection of faces with five-point landmarks: what a detector is, and what it returns."""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

# Of the faces of an image those count that are at least so high, compared with the chosen one: in
# a crowd in the background nobody is meant.
COUNTED_HEIGHT = 1 / 3


class DetectedFaces(NamedTuple):
    """The N faces of an image, in any order.

    Attributes:
        boxes: (N, 4) left, top, right and bottom in pixels.
        points: (N, 5, 2) landmarks, as `alignment` expects them.
        confidences: (N,) in [0, 1], higher where the detector is surer.

    Example:
        >>> len(no_faces().boxes)
        0
    """

    boxes: np.ndarray
    points: np.ndarray
    confidences: np.ndarray

    def nearest(self, image_size: tuple[int, int]) -> int:
        """Return the number of the face nearest to the center of an image of (height, width)."""
        centers = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        middle = np.array(image_size[::-1]) / 2
        return int(np.argmin(np.linalg.norm(centers - middle, axis=1)))

    def in_whole_image(self, factor: int) -> "DetectedFaces":
        """Return the faces of an image that was reduced by `factor` before, in its own pixels."""
        # The center of reduced pixel 0 lies at (factor - 1) / 2.
        return DetectedFaces(
            self.boxes * factor, self.points * factor + (factor - 1) / 2, self.confidences
        )


# Function from an image, uint8 (H, W, 3) RGB, to its faces.
Detector = Callable[[np.ndarray], DetectedFaces]


class Detection(NamedTuple):
    """The face that is nearest to the center of an image, among its faces.

    Attributes:
        points: (5, 2) landmarks, as `alignment` expects them.
        num_faces: Int. Number of faces of the image that are at least a third as high.
    """

    points: np.ndarray
    num_faces: int


def check_mtcnn_installed() -> None:
    """Raise an ImportError if what MTCNN needs is not installed, without loading it."""
    for package in ("mtcnn", "joblib", "threadpoolctl"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"Detecting faces by MTCNN needs the package `{package}`: "
                "pip install 'keras-sphereface[detect]'"
            )


def no_faces() -> DetectedFaces:
    """Return the faces of an image without any.

    Example:
        >>> no_faces().points.shape
        (0, 5, 2)
    """
    return DetectedFaces(np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0))


def reduced(image: np.ndarray, longest_side: int) -> tuple[np.ndarray, int]:
    """Return an image reduced by a whole factor, and the factor; 1 below twice `longest_side`.

    Example:
        >>> image, factor = reduced(np.zeros((900, 300, 3), np.uint8), 400)
        >>> image.shape, factor
        ((450, 150, 3), 2)
    """
    factor = max(1, max(image.shape[:2]) // longest_side)
    return np.asarray(Image.fromarray(image).reduce(factor)), factor


def nearest_face_detector(detect_all: Detector) -> Callable[[np.ndarray], Detection | None]:
    """Make of a detector one for images of one person each.

    Args:
        detect_all: The detector.

    Returns:
        A function that takes an image, uint8 (H, W, 3) RGB, and returns the `Detection` of
        the face nearest to its center, or None if it detects no face.

    Example:
        >>> detect = nearest_face_detector(lambda image: no_faces())
        >>> detect(np.zeros((64, 64, 3), np.uint8)) is None
        True
    """

    def detect(image: np.ndarray) -> Detection | None:
        faces = detect_all(image)
        if len(faces.boxes) == 0:
            return None
        nearest = faces.nearest(image.shape[:2])
        heights = faces.boxes[:, 3] - faces.boxes[:, 1]
        num_faces = int(np.sum(heights >= COUNTED_HEIGHT * heights[nearest]))
        return Detection(faces.points[nearest], num_faces)

    return detect
