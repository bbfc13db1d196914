"""Five-point similarity alignment, with NumPy and OpenCV.

Points are (x, y) in pixels: left eye, right eye, nose, left and right mouth corner as seen
in the image. (0, 0) is the center of the top left pixel.
"""

import cv2
import numpy as np

# The positions of the five points in a face of 112 x 96 (H x W), by Liu et al.
TEMPLATE_112X96 = np.array(
    [
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ]
)
TEMPLATE_SIZE = (112, 96)


def landmark_template(size: tuple[int, int] = TEMPLATE_SIZE) -> np.ndarray:
    """Return the five target points (5, 2) in a face of `size` = (height, width).

    112 x 96 is the template of Liu et al., and 112 x 112 the same with 8 added to every x, as in
    later work. Other sizes scale the template by their height and center it in width.

    Example:

    >>> landmark_template((112, 112))[0].round(1).tolist()
    [38.3, 51.7]
    """
    height, width = size
    scale = height / TEMPLATE_SIZE[0]
    offset = ((width - scale * TEMPLATE_SIZE[1]) / 2, 0.0)
    return scale * TEMPLATE_112X96 + offset


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation, scale and shift, without reflection, that best map source to target.

    Args:
        source: (..., N, 2) points of any number of faces, N >= 2.
        target: (N, 2) points, or one set for each face.

    Returns:
        (..., 2, 3) matrices A that minimize sum |A (x, y, 1) - target|^2.

    Raises:
        ValueError: if points are not finite, or all points of a face coincide.

    Reference: Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns", PAMI 1991; in the plane its solution is one complex division.

    Example:

    >>> square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    >>> matrix = similarity_transform(square, 2 * square + 5)
    >>> (matrix @ (1, 1, 1)).round(6)
    array([7., 7.])
    """
    # A complex number a + bi rotates and scales the plane as [[a, -b], [b, a]] does.
    source, target = (np.asarray(points, np.float64) @ (1, 1j) for points in (source, target))
    source_mean, target_mean = (points.mean(-1, keepdims=True) for points in (source, target))
    centered = source - source_mean
    spread = np.sum(np.abs(centered) ** 2, -1)
    if not np.all(np.isfinite(spread) & (spread > 0)):
        raise ValueError(
            "The points of a face must be finite and must not all coincide. "
            f"Received: {np.stack([source.real, source.imag], -1).tolist()}"
        )
    rotation = np.sum(np.conj(centered) * (target - target_mean), -1) / spread
    shift = target_mean[..., 0] - rotation * source_mean[..., 0]
    a, b = rotation.real, rotation.imag
    rows = [a, -b, shift.real], [b, a, shift.imag]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample `image` (H, W, C) so that point p moves to matrix (p, 1); black outside.

    Bilinear, as in the reference implementation; bicubic would cost as much as decoding does. An
    image that shrinks to less than half is averaged over squares of 2, 4, 8 ... pixels first, so
    that no pixel is skipped.
    """
    scale = np.hypot(*matrix[:, 0])
    halvings = int(np.floor(-np.log2(max(scale, 1e-6)))) if scale < 0.5 else 0
    factor = 2 ** min(halvings, int(np.log2(min(image.shape[:2]))))
    if factor > 1:
        height, width = (length // factor for length in image.shape[:2])
        whole = image[: height * factor, : width * factor]
        image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        # Pixel centers: the center of reduced pixel 0 lies at (factor - 1) / 2.
        shift = matrix[:, :2].sum(1) * (factor - 1) / 2 + matrix[:, 2]
        matrix = np.column_stack([matrix[:, :2] * factor, shift])
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR)


def align(
    image: np.ndarray,
    points: np.ndarray,
    size: tuple[int, int] = TEMPLATE_SIZE,
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """Align a face by its five points.

    Args:
        image: uint8 (H, W, 3) RGB, or (H, W, 4) of `images.decode_rgbx`.
        points: (5, 2) in pixels: eyes, nose, mouth corners, the left of each pair first.
        size: (height, width) of the result.
        matrix: (2, 3). `similarity_transform(points, landmark_template(size))`, if it is at hand.

    Returns:
        uint8 (*size, 3 or 4), black where the image does not reach.

    Raises:
        ValueError: if the points coincide, or lie further outside the image than it is large:
            then they belong to another image.

    Example:

    >>> image = np.zeros((160, 160, 3), np.uint8)
    >>> align(image, landmark_template() + 30).shape
    (112, 96, 3)
    """
    height, width = image.shape[:2]
    # From one width to the left to one width to the right of it, and so in height.
    if not np.abs(points / (width, height) - 0.5).max() <= 1.5:
        raise ValueError(
            f"The points must lie in or near the image of {width} x {height} pixels. "
            f"Received: {np.asarray(points).tolist()}"
        )
    if matrix is None:
        matrix = similarity_transform(points, landmark_template(size))
    return warp(image, matrix, size)


def align_known(
    image: np.ndarray,
    points: np.ndarray,
    size: tuple[int, int] = TEMPLATE_SIZE,
    matrix: np.ndarray | None = None,
) -> np.ndarray:
    """Align a face by points from a file, whose middle must lie in the image; see `align`.

    Raises:
        ValueError: if it does not, or as `align`.

    Example:

    >>> align_known(np.zeros((160, 160, 3), np.uint8), landmark_template() + 130)
    Traceback (most recent call last):
        ...
    ValueError: the face must lie in the image of 160 x 160 pixels. Received: points around (1...
    """
    height, width = image.shape[:2]
    middle = np.mean(points, axis=0)
    # Single points may lie outside: the border cuts some faces.
    if not (0 <= middle[0] <= width and 0 <= middle[1] <= height):
        raise ValueError(
            f"the face must lie in the image of {width} x {height} pixels. "
            f"Received: points around ({middle[0]:.0f}, {middle[1]:.0f})"
        )
    return align(image, points, size, matrix)
