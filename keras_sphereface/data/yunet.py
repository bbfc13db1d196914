"""Detection of faces by YuNet, which OpenCV runs without TensorFlow, from a file of its weights."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_sphereface.data.detection import DetectedFaces, Detector, no_faces, reduced

# YuNet finds faces of 10 to 300 pixels; an image of twice that or more is reduced first.
LONGEST_SIDE = 640
MIN_CONFIDENCE = 0.6  # OpenCV's default is 0.9; each face is reported with its confidence
OVERLAP, MOST_FACES = 0.3, 5000
_COLUMNS = 15  # left, top, width, height, five times x and y, confidence
_PROBE = (64, 64)
_SILENT = 0  # a level of OpenCV's log


def yunet_detector(path: str | os.PathLike, min_confidence: float = MIN_CONFIDENCE) -> Detector:
    """Load YuNet from a file that `cv2.FaceDetectorYN` reads; nothing is downloaded.

    Args:
        path: An .onnx file of YuNet, such as face_detection_yunet_2023mar.onnx of OpenCV's model
            zoo.
        min_confidence: Float in (0, 1]. Faces of lower confidence are left out.

    Returns:
        The detector, for one thread at a time.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If OpenCV cannot detect faces with it.
        ImportError: If this OpenCV has no `FaceDetectorYN`.

    Reference: Wu et al., "YuNet: a tiny millisecond-level face detector", 2023.

    Example:
        >>> yunet_detector("face_detection_yunet_2023mar.onnx")
        Traceback (most recent call last):
        FileNotFoundError: `detector` must be mtcnn or an .onnx file of YuNet... Received: ...
    """
    check_yunet_file(path)
    if not hasattr(cv2, "FaceDetectorYN"):
        raise ImportError(
            "YuNet needs cv2.FaceDetectorYN: pip install 'opencv-python-headless>=4.8'. "
            f"Received: OpenCV {cv2.__version__}"
        )
    try:
        with _silent_opencv():
            network = cv2.FaceDetectorYN.create(
                str(path), "", _PROBE[::-1], min_confidence, OVERLAP, MOST_FACES
            )
            network.detect(np.zeros((*_PROBE, 3), np.uint8))
    except cv2.error as error:
        lines = str(error).strip().splitlines()
        raise ValueError(
            "`detector` must be an .onnx file of YuNet that OpenCV can run, such as "
            f"face_detection_yunet_2023mar.onnx of its model zoo. Received: {path}; "
            f"{lines[0] if lines else 'no reason'}"
        ) from error

    def detect(image: np.ndarray) -> DetectedFaces:
        small, factor = reduced(image, LONGEST_SIDE)
        network.setInputSize(small.shape[1::-1])
        _, rows = network.detect(np.ascontiguousarray(small[:, :, ::-1]))  # it takes BGR
        if rows is None or len(rows) == 0:
            return no_faces()
        rows = np.asarray(rows, np.float64).reshape(-1, _COLUMNS)
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        # Its "right eye" is that of the person, the left one in the image, which comes first.
        points = rows[:, 4:14].reshape(-1, 5, 2)
        return DetectedFaces(boxes, points, rows[:, 14]).in_whole_image(factor)

    return detect


@contextlib.contextmanager
def _silent_opencv() -> Iterator[None]:
    """OpenCV prints its errors beside raising them, and warns of its own parts."""
    log: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the functions at its root
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def check_yunet_file(path: str | os.PathLike) -> None:
    """Refuse a path that is no .onnx file, without opening it.

    Raises:
        FileNotFoundError, ValueError: With what was received.
    """
    is_there = Path(path).is_file()
    if not is_there or Path(path).suffix.lower() != ".onnx":
        error = ValueError if is_there else FileNotFoundError
        raise error(
            "`detector` must be mtcnn or an .onnx file of YuNet, such as "
            f"face_detection_yunet_2023mar.onnx of OpenCV's model zoo. Received: {path}"
            + ("" if is_there else ", which does not exist")
        )
