"""Detection of five-point landmarks with the optional package `mtcnn`."""

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


def make_detector() -> Callable[[np.ndarray], Detection | None]:
    """Load MTCNN's three networks, which takes seconds.

    Returns:
        A function that takes an image, uint8 (H, W, 3) RGB, and returns the `Detection` of
        the face nearest to its center, or None if it detects no face.

    Raises:
        ImportError: if `mtcnn` is not installed.

    Reference: Zhang et al., "Joint face detection and alignment using multitask cascaded
    convolutional networks", 2016.
    """
    check_mtcnn_installed()
    from mtcnn import MTCNN

    network = MTCNN()

    def detect(image: np.ndarray) -> Detection | None:
        factor = max(1, max(image.shape[:2]) // LONGEST_SIDE)
        reduced = np.asarray(Image.fromarray(image).reduce(factor))
        height, width = reduced.shape[:2]
        if min(height, width) < MIN_SIDE:
            return None
        # (N, 16): image, box x1 y1 x2 y2, confidence, five x, five y.
        faces = network.detect_faces(reduced, box_format="xyxy", output_type="numpy")
        if len(faces) == 0:
            return None
        centers = (faces[:, 1:3] + faces[:, 3:5]) / 2
        offsets = np.linalg.norm(centers - (width / 2, height / 2), axis=1)
        nearest = np.argmin(offsets)
        heights = faces[:, 4] - faces[:, 2]
        num_faces = int(np.sum(heights >= COUNTED_HEIGHT * heights[nearest]))
        points = faces[nearest, 6:16].reshape(2, 5).T.astype(np.float64)
        # The center of reduced pixel 0 lies at (factor - 1) / 2.
        return Detection(factor * points + (factor - 1) / 2, num_faces)

    return detect
