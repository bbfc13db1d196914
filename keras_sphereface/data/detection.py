"""Detection of faces with five-point landmarks: what a detector is, and the optional `mtcnn`."""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

MIN_SIDE = 20  # pixels; MTCNN detects no smaller faces
LONGEST_SIDE = 1000  # an image of twice that or more is reduced first: 8 s become 0.4 s


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
    """Raise an ImportError if `mtcnn` is not installed, without loading it."""
    if importlib.util.find_spec("mtcnn") is None:
        raise ImportError(
            "Detecting landmarks needs the package `mtcnn`: pip install keras-sphereface[detect]"
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


def mtcnn_detector() -> Detector:
    """Load MTCNN's three networks, which takes seconds, and TensorFlow with them.

    Returns:
        The detector. Images of less than 20 pixels a side have no faces.

    Raises:
        ImportError: if `mtcnn` is not installed.

    Reference: Zhang et al., "Joint face detection and alignment using multitask cascaded
    convolutional networks", 2016.
    """
    check_mtcnn_installed()
    from mtcnn import MTCNN

    network = MTCNN()

    def detect(image: np.ndarray) -> DetectedFaces:
        small, factor = reduced(image, LONGEST_SIDE)
        if min(small.shape[:2]) < MIN_SIDE:
            return no_faces()
        # (N, 16): image, box x1 y1 x2 y2, confidence, five x, five y.
        rows = network.detect_faces(small, box_format="xyxy", output_type="numpy")
        if len(rows) == 0:
            return no_faces()
        rows = np.asarray(rows, np.float64)
        points = rows[:, 6:16].reshape(-1, 2, 5).transpose(0, 2, 1)
        return DetectedFaces(rows[:, 1:5], points, rows[:, 5]).in_whole_image(factor)

    return detect


def make_detector() -> Callable[[np.ndarray], Detection | None]:
    """Load MTCNN, as `mtcnn_detector` does, for images of one person each.

    Returns:
        A function that takes an image, uint8 (H, W, 3) RGB, and returns the `Detection` of
        the face nearest to its center, or None if it detects no face.

    Raises:
        ImportError: if `mtcnn` is not installed.
    """
    detect_all = mtcnn_detector()

    def detect(image: np.ndarray) -> Detection | None:
        faces = detect_all(image)
        if len(faces.boxes) == 0:
            return None
        nearest = faces.nearest(image.shape[:2])
        heights = faces.boxes[:, 3] - faces.boxes[:, 1]
        num_faces = int(np.sum(heights >= COUNTED_HEIGHT * heights[nearest]))
        return Detection(faces.points[nearest], num_faces)

    return detect
