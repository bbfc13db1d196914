"""Several crops of a face embedded and averaged: shifted by pixels, and scaled by some per cent."""

import dataclasses

import cv2
import numpy as np

from keras_sphereface.config.choices import MAX_CROPS
from keras_sphereface.export.network import Network
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.utils.validation import check_integer

SHIFT = 3 / 112  # of the height
ZOOM = 1.05
# (columns, rows, scale): the face itself, then the smallest changes of each kind.
CROPS = (
    *((0, 0, 1.0), (-1, 0, 1.0), (1, 0, 1.0), (0, -1, 1.0), (0, 1, 1.0)),
    *((0, 0, ZOOM), (0, 0, 1 / ZOOM)),
)
assert len(CROPS) == MAX_CROPS


def crops_of(images: np.ndarray, number: int) -> np.ndarray:
    """Return one of the crops of images; what lies outside repeats the border.

    Args:
        images: uint8 (N, H, W, C).
        number: Int from 0, the images themselves, to 6: shifted to the left, right, up and down by
            three pixels of 112, enlarged and reduced by 5 per cent.

    Example:
        >>> images = np.arange(112, dtype=np.uint8)[None, :, None, None].repeat(96, axis=2)
        >>> crops_of(images, 3)[0, :, 0, 0].tolist()[:3]
        [3, 4, 5]
    """
    columns, rows, scale = CROPS[number]
    if not number:
        return images
    height, width = images.shape[1:3]
    shift = max(1, round(SHIFT * height))
    center = (width - 1) / 2, (height - 1) / 2
    matrix = np.array(
        [
            [scale, 0, (1 - scale) * center[0] + shift * columns],
            [0, scale, (1 - scale) * center[1] + shift * rows],
        ]
    )
    warped = [
        cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        for image in images
    ]
    return np.stack(warped).reshape(images.shape)


def with_crops(network: Network, num_crops: int) -> Network:
    """Return a network that embeds several crops of each face and averages.

    An embedding is the mean of the unit embeddings of the crops, at the mean of their lengths. It
    takes `num_crops` times as long. A threshold or a calibration of single embeddings is not that
    of these.

    Args:
        network: The network.
        num_crops: Int from 1, the network itself, to 7; see `crops_of`.

    Raises:
        ValueError: If the number is another.

    Example:
        >>> from keras_sphereface.export import open_network
        >>> network = with_crops(open_network("model"), 3)
        >>> network(np.zeros((2, 112, 96, 3), np.uint8)).shape
        (2, 8)
    """
    if check_integer(num_crops, "num_crops", 1) > MAX_CROPS:
        raise ValueError(
            f"`num_crops` must be from 1 to {MAX_CROPS}. Received: num_crops={num_crops}"
        )
    if num_crops == 1:
        return network

    def run(batch: np.ndarray) -> np.ndarray:
        crops = [network.run(crops_of(batch, number)) for number in range(num_crops)]
        length = np.mean([np.linalg.norm(crop, axis=1, keepdims=True) for crop in crops], axis=0)
        mean = np.mean([normalize_rows(crop) for crop in crops], axis=0)
        return (length * normalize_rows(mean)).astype(np.float32)

    return dataclasses.replace(network, run=run)
