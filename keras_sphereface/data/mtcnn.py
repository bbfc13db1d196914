"""Detection of faces by MTCNN, without TensorFlow: the cascade around its three networks.

Thresholds, rounding and borders are those of the package `mtcnn` 1.0, which runs the same weights
in TensorFlow; a test holds the faces of both equal.

Reference: Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional
networks", 2016.
"""

import cv2
import numpy as np

from keras_sphereface.data.detection import (
    DetectedFaces,
    Detector,
    check_mtcnn_installed,
    no_faces,
    reduced,
)
from keras_sphereface.data.mtcnn_networks import (
    MtcnnWeights,
    load_weights,
    locate,
    propose,
    refine,
)

LONGEST_SIDE = 1000  # an image of twice that or more is reduced first: 5 s become half a second
SMALLEST_FACE = 20  # pixels
WINDOW, STRIDE = 12, 2  # of P-Net
SCALE_STEP = 0.709  # between the levels of the pyramid: each has half as many pixels
# Of a level of the pyramid, of all levels, of R-Net and of O-Net. Boxes that overlap a better one
# by more are left out: intersection over union, of O-Net over the smaller box.
LEVEL_OVERLAP, OVERLAP = 0.5, 0.7
PROPOSED, REFINED, LOCATED = 0.6, 0.7, 0.8  # lowest confidences
_BLOCK = 128  # boxes compared with all better ones at once


def mtcnn_detector() -> Detector:
    """Load MTCNN, which finds faces of 20 pixels or more.

    Returns:
        The detector, for one thread at a time. Images of less than 20 pixels a side have no faces.

    Raises:
        ImportError: If `keras-sphereface[detect]` is not installed.

    Example:
        >>> mtcnn_detector()(np.zeros((64, 64, 3), np.uint8)).points.shape
        (0, 5, 2)
    """
    check_mtcnn_installed()
    # Only now: both are of the extra.
    import threadpoolctl

    weights = load_weights()
    # Threads of a matrix product wait for each other, which takes ten times as long where other
    # processes run, as in a conversion; the matrices are too small to gain much.
    blas = threadpoolctl.ThreadpoolController().select(user_api="blas")

    def detect(image: np.ndarray) -> DetectedFaces:
        small, factor = reduced(image, LONGEST_SIDE)
        with blas.limit(limits=1):
            return _cascade(small, weights).in_whole_image(factor)

    return detect


def _cascade(image: np.ndarray, weights: MtcnnWeights) -> DetectedFaces:
    """Return the faces of uint8 (H, W, 3)."""
    if min(image.shape[:2]) < SMALLEST_FACE:
        return no_faces()
    pixels = (image.astype(np.float32) - 127.5) / 128
    boxes = _proposals(pixels, weights)
    if len(boxes):
        boxes = _refined(pixels, boxes, weights)
    if not len(boxes):
        return no_faces()
    offsets, points, confidences = locate(patches(pixels, boxes, 48), weights.output)
    sizes = _sizes(boxes)
    points = points * sizes[:, None, :] + boxes[:, None, :2] - 1
    boxes = boxes + offsets * np.tile(sizes, 2)
    kept = np.flatnonzero(confidences > LOCATED)
    kept = kept[best_boxes(boxes[kept], confidences[kept], OVERLAP, of_smaller=True)]
    bottom_right = np.tile(image.shape[1::-1], 2) - 1
    return DetectedFaces(
        np.clip(boxes[kept], 0, bottom_right).astype(np.float64),
        points[kept].astype(np.float64),
        confidences[kept].astype(np.float64),
    )


def pyramid_scales(height: int, width: int) -> np.ndarray:
    """Return the factors by which P-Net sees an image smaller.

    Example:
        >>> pyramid_scales(40, 60).round(2)
        array([0.6 , 0.43])
    """
    levels = round(-(np.log(min(height, width) / WINDOW) / np.log(SCALE_STEP) + 1))
    return WINDOW / SMALLEST_FACE * SCALE_STEP ** np.arange(levels)


def _proposals(pixels: np.ndarray, weights: MtcnnWeights) -> np.ndarray:
    """Return the square boxes (N, 4) where P-Net sees a face."""
    boxes, confidences = [np.empty((0, 4))], [np.empty(0)]
    for scale in pyramid_scales(*pixels.shape[:2]):
        height, width = (int(side * scale) for side in pixels.shape[:2])
        level = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        (offsets,), (of_window,) = propose(level[None], weights.propose)
        rows, columns = np.nonzero(of_window > PROPOSED)
        corners = STRIDE * np.stack([columns, rows], axis=1)
        # The package counts the pixels of a window from 1 to 12, 11 apart.
        windows = np.concatenate([corners + 1, corners + WINDOW], axis=1)
        windows = (windows + offsets[rows, columns] * (WINDOW - 1)) / scale
        kept = best_boxes(windows, of_window[rows, columns], LEVEL_OVERLAP)
        boxes.append(windows[kept])
        confidences.append(of_window[rows, columns][kept])
    all_boxes = np.concatenate(boxes)
    return _squares(all_boxes[best_boxes(all_boxes, np.concatenate(confidences), OVERLAP)])


def _refined(pixels: np.ndarray, boxes: np.ndarray, weights: MtcnnWeights) -> np.ndarray:
    """Return the square boxes that R-Net keeps."""
    offsets, confidences = refine(patches(pixels, boxes, 24), weights.refine)
    boxes = boxes + offsets * np.tile(_sizes(boxes), 2)
    kept = np.flatnonzero(confidences > REFINED)
    return _squares(boxes[kept[best_boxes(boxes[kept], confidences[kept], OVERLAP)]])


def best_boxes(
    boxes: np.ndarray, confidences: np.ndarray, overlap: float, of_smaller: bool = False
) -> np.ndarray:
    """Return the rows of the boxes that no better one overlaps, the best first.

    A box is also left out for a better one that is itself left out.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        confidences: (N,).
        overlap: Float. Largest intersection over union that is kept.
        of_smaller: Bool. Intersection over the smaller box in place of the union.

    Example:
        >>> boxes = np.array([[0, 0, 8, 8], [1, 0, 9, 8], [20, 0, 28, 8]])
        >>> best_boxes(boxes, np.array([0.7, 0.9, 0.8]), overlap=0.5)
        array([1, 2])
    """
    order = np.argsort(confidences)[::-1]
    sides = boxes[order].T
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    kept = np.ones(len(order), bool)
    for start in range(0, len(order), _BLOCK):  # all at once would take N x N numbers
        block = slice(start, start + _BLOCK)
        better = slice(0, start + _BLOCK)
        low = np.maximum(sides[:2, None, better], sides[:2, block, None])
        high = np.minimum(sides[2:, None, better], sides[2:, block, None])
        shared = np.prod(np.maximum(high - low, 0), axis=0)
        pairs = areas[block, None], areas[None, better]
        whole = np.minimum(*pairs) if of_smaller else np.add(*pairs) - shared
        is_better = np.arange(shared.shape[1]) < np.arange(start, start + len(shared))[:, None]
        kept[block] = ~np.any((shared > overlap * whole) & is_better, axis=1)
    return order[kept]


def _sizes(boxes: np.ndarray) -> np.ndarray:
    """Return (N, 2) widths and heights; the package counts both border pixels."""
    return boxes[:, 2:] - boxes[:, :2] + 1


def _squares(boxes: np.ndarray) -> np.ndarray:
    """Return boxes of the longer side around the same centers."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    longer = sizes.max(axis=1, keepdims=True)
    top_left = boxes[:, :2] + (sizes - longer) / 2
    return np.concatenate([top_left, top_left + longer], axis=1)


def patches(pixels: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """Return the boxes of an image in side x side pixels; outside of the image all is 0.

    As `tf.image.crop_and_resize` does, with the boxes divided by height and width.

    Args:
        pixels: float32 (H, W, 3).
        boxes: (N, 4).
        side: Int.

    Returns:
        float32 (N, side, side, 3).

    Example:
        >>> pixels = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
        >>> patches(pixels, np.array([[0, 0, 4, 4]]), 2)[0, :, :, 0]
        array([[ 0.,  3.],
               [12., 15.]], dtype=float32)
    """
    columns, right, in_width = _samples(boxes[:, 0], boxes[:, 2], pixels.shape[1], side)
    rows, down, in_height = _samples(boxes[:, 1], boxes[:, 3], pixels.shape[0], side)
    right, down = right[:, None, :, None], down[:, :, None, None]

    def between_columns(rows: np.ndarray) -> np.ndarray:
        rows = rows[:, :, None]
        left_values, right_values = (
            pixels[rows, columns[:, None]],
            pixels[rows, columns[:, None] + 1],
        )
        return left_values + (right_values - left_values) * right

    above, below = between_columns(rows), between_columns(rows + 1)
    inside = in_height[:, :, None, None] & in_width[:, None, :, None]
    return np.where(inside, above + (below - above) * down, np.float32(0))


def _samples(
    low: np.ndarray, high: np.ndarray, length: int, side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (pixels before the samples, shares of those after, whether they are inside)."""
    steps = np.linspace(0, 1, side)
    places = (low[:, None] + (high - low)[:, None] * steps) * ((length - 1) / length)
    inside = (places >= 0) & (places <= length - 1)
    places = np.clip(places, 0, length - 1)
    before = np.minimum(places.astype(np.int64), length - 2)
    return before, (places - before).astype(np.float32), inside
