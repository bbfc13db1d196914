"""Five-point similarity alignment, pure NumPy and Pillow.

Points are (x, y) in pixels: left eye, right eye, nose, left and right mouth corner as seen
in the picture. (0, 0) is the centre of the top left pixel.
"""

import numpy as np
from PIL import Image

# The authors' positions of the five points in a face of 112 x 96 (H x W).
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


def template(size: tuple[int, int] = TEMPLATE_SIZE) -> np.ndarray:
    """The five target points (5, 2) in a face of `size` = (height, width).

    112 x 96 is the authors' template and 112 x 112 the same with 8 added to every x, as in
    later work. Other sizes scale the template by their height and centre it in width.
    """
    height, width = size
    scale = height / TEMPLATE_SIZE[0]
    offset = ((width - scale * TEMPLATE_SIZE[1]) / 2, 0.0)
    return scale * TEMPLATE_112X96 + offset


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift, without reflection, that best takes source to target.

    Args:
        source, target: (N, 2) points, N >= 2.

    Returns:
        (2, 3) matrix A that minimises sum |A (x, y, 1) - target|^2.

    Raises:
        ValueError: if the source points are not finite or all lie in one place.

    Reference: Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns", PAMI 1991; in the plane its solution is one complex division.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(0), target.mean(0)
    # A complex number a + bi turns and scales the plane as [[a, -b], [b, a]] does.
    from_points = (source - source_mean) @ (1, 1j)
    to_points = (target - target_mean) @ (1, 1j)
    spread = np.sum(np.abs(from_points) ** 2)
    if not (np.isfinite(spread) and spread > 0):
        raise ValueError(
            "The points of a face must be finite and not all in one place. "
            f"Received: {source.tolist()}"
        )
    turn = np.sum(np.conj(from_points) * to_points) / spread
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample `image` (H, W, 3) so that point p moves to matrix (p, 1); black outside.

    Bicubic. A picture that shrinks to less than half is halved first, as often as needed,
    so that no pixel is skipped.
    """
    matrix = np.vstack([matrix, (0.0, 0.0, 1.0)])
    picture = Image.fromarray(image)
    scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
    halvings = int(np.floor(-np.log2(max(scale, 1e-6)))) if scale < 0.5 else 0
    halvings = min(halvings, int(np.log2(min(picture.size))))
    if halvings:
        factor = 2**halvings
        picture = picture.reduce(factor)
        # Pixel centres: the centre of reduced pixel 0 lies at (factor - 1) / 2.
        offset = (factor - 1) / 2
        matrix = matrix @ np.array([[factor, 0, offset], [0, factor, offset], [0, 0, 1.0]])
    # Pillow wants the way back, and counts from pixel corners, half a pixel off from ours.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    back = half @ np.linalg.inv(matrix) @ np.linalg.inv(half)
    height, width = size
    warped = picture.transform(
        (width, height),
        Image.Transform.AFFINE,
        data=tuple(back[:2].ravel()),
        resample=Image.Resampling.BICUBIC,
    )
    return np.asarray(warped)


def align(
    image: np.ndarray, points: np.ndarray, size: tuple[int, int] = TEMPLATE_SIZE
) -> np.ndarray:
    """The face with these five points (5, 2), laid on the template: uint8 (*size, 3).

    Raises:
        ValueError: if the points have no extent, or lie further outside the picture than it
            is large: they belong to another picture then.
    """
    extent = np.array(image.shape[1::-1])
    if np.any(points < -extent) or np.any(points > 2 * extent):
        raise ValueError(
            f"The points must lie in or near the picture of {extent[0]} x {extent[1]} pixels. "
            f"Received: {np.asarray(points).tolist()}"
        )
    return warp(image, similarity(points, template(size)), size)
