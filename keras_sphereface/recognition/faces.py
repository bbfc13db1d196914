"""The faces of an image: detected, chosen by a policy, aligned, and judged."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_sphereface.data import alignment, images
from keras_sphereface.data.detection import Detector
from keras_sphereface.recognition.face_quality import FaceQuality, measure_quality
from keras_sphereface.recognition.input_images import DoubtfulImageError
from keras_sphereface.utils.validation import check_choice

POLICIES = ("exactly-one", "largest", "center", "all")


@dataclasses.dataclass(frozen=True)
class Face:
    """A face as a network takes it.

    Attributes:
        crop: uint8 (H, W, 3) RGB, aligned.
        box: (left, top, right, bottom) in pixels of the image; None without detection.
        quality: Its quality.

    Example:
        >>> face = whole_image_as_face(np.zeros((224, 192, 3), np.uint8), (112, 96))
        >>> face.crop.shape, face.box
        ((112, 96, 3), None)
    """

    crop: np.ndarray = dataclasses.field(repr=False)
    box: tuple[float, float, float, float] | None
    quality: FaceQuality


def whole_image_as_face(image: np.ndarray, size: tuple[int, int]) -> Face:
    """Return an image that is an aligned face; another size is cropped at its center and resized.

    Args:
        image: uint8 (H, W, 3) RGB.
        size: (height, width) of the face.
    """
    crop = image if image.shape[:2] == size else images.crop_to(image, size)
    return Face(crop, None, measure_quality(crop))


def detect_faces(
    image: np.ndarray,
    name: str,
    detector: Detector,
    policy: str,
    size: tuple[int, int],
    template: np.ndarray,
) -> list[Face]:
    """Detect the faces of an image and align those that the policy chooses.

    Args:
        image: uint8 (H, W, 3) RGB.
        name: Its name for messages.
        detector: The detector.
        policy: "exactly-one": several are refused; "largest", by the area of its box; "center",
            nearest to the center of the image; "all", from left to right.
        size: (height, width) of an aligned face.
        template: (5, 2) target points in it.

    Raises:
        DoubtfulImageError: If there is no face, or by "exactly-one" several.
    """
    check_choice(policy, "policy", POLICIES)
    detected = detector(image)
    count = len(detected.boxes)
    if not count:
        raise DoubtfulImageError(name, "no face is detected")
    if policy == "exactly-one" and count > 1:
        raise DoubtfulImageError(
            name,
            f"{count} faces are detected, and the policy is exactly-one; choose by the policy "
            "largest or center, or crop the image",
        )
    widths, heights = (detected.boxes[:, 2:] - detected.boxes[:, :2]).T
    chosen = {
        "largest": [int(np.argmax(widths * heights))],
        "center": [detected.nearest(image.shape[:2])],
    }.get(policy, [int(row) for row in np.argsort(detected.boxes[:, 0], kind="stable")])
    return [
        _aligned_face(
            image,
            name,
            detected.points[row],
            alignment.align,
            size,
            template,
            (detected.boxes[row], float(detected.confidences[row])),
        )
        for row in chosen
    ]


def known_face(
    image: np.ndarray, name: str, points: np.ndarray, size: tuple[int, int], template: np.ndarray
) -> Face:
    """Align the face whose five points in pixels of the image (5, 2) are known; see `detect_faces`.

    Raises:
        DoubtfulImageError: If the points cannot be those of a face in this image.
    """
    return _aligned_face(image, name, points, alignment.align_known, size, template)


def _aligned_face(
    image: np.ndarray,
    name: str,
    points: np.ndarray,
    align: Callable[..., np.ndarray],
    size: tuple[int, int],
    template: np.ndarray,
    detected: tuple[np.ndarray, float] | None = None,
) -> Face:
    """A face by its points; `detected` are the box and the confidence of a detector."""
    try:
        matrix = alignment.similarity_transform(points, template)
        crop = align(image, points, size, matrix)
    except ValueError as error:
        raise DoubtfulImageError(name, f"the face cannot be aligned: {error}") from error
    eye_distance = float(np.linalg.norm(points[1] - points[0]))
    if detected is None:
        return Face(crop, None, measure_quality(crop, eye_distance))
    left, top, right, bottom = (float(side) for side in detected[0])
    return Face(crop, (left, top, right, bottom), measure_quality(crop, eye_distance, detected[1]))
