"""The three networks of MTCNN in NumPy, with the weights that the package `mtcnn` brings.

They are so small that NumPy runs them as fast as TensorFlow, which takes seconds to load.

Reference: Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional
networks", 2016.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Kernels of the convolutions and of the dense layers; a bias follows each, and the slopes of a
# PReLU all but the outputs. A face is the last output but the box and, of O-Net, the points.
PROPOSE = ("pnet", ((3, 3, 3, 10), (3, 3, 10, 16), (3, 3, 16, 32)), (), (4, 2))
REFINE = ("rnet", ((3, 3, 3, 28), (3, 3, 28, 48), (2, 2, 48, 64)), (576, 128), (4, 2))
OUTPUT = (
    "onet",
    ((3, 3, 3, 32), (3, 3, 32, 64), (3, 3, 64, 64), (2, 2, 64, 128)),
    (1152, 256),
    (4, 10, 2),
)
# Numbers of the windows of an image copied at once: 4 MB, which a processor's cache holds.
_BAND = 2**20


class MtcnnWeights(NamedTuple):
    """The arrays of each network, in the order of its layers."""

    propose: Sequence[np.ndarray]
    refine: Sequence[np.ndarray]
    output: Sequence[np.ndarray]


def load_weights() -> MtcnnWeights:
    """Read the weights from the package `mtcnn`, whose own code needs TensorFlow.

    Raises:
        ImportError: If it is not installed, or its files are others.
    """
    import joblib

    spec = importlib.util.find_spec("mtcnn")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    networks: list[Sequence[np.ndarray]] = []
    for network in (PROPOSE, REFINE, OUTPUT):
        paths = [Path(folder, "assets", "weights", f"{network[0]}.lz4") for folder in folders]
        path = next(filter(Path.is_file, paths), None)
        # A pickle, as any module of an installed package is code.
        arrays: Sequence[np.ndarray] = joblib.load(path) if path else ()
        if [np.shape(array) for array in arrays] != weight_shapes(network):
            raise ImportError(
                f"The package `mtcnn` must hold the weights of its version 1.0: pip install "
                f"'mtcnn>=1.0,<2'. Received: no {network[0]}.lz4 of that form in {folders}"
            )
        networks.append(arrays)
    return MtcnnWeights(*networks)


def weight_shapes(network: tuple) -> list[tuple[int, ...]]:
    """Return the shapes of a network's arrays.

    Example:
        >>> weight_shapes(PROPOSE)[:3]
        [(3, 3, 3, 10), (10,), (1, 1, 10)]
    """
    _, kernels, dense, outputs = network
    shapes: list[tuple[int, ...]] = []
    for kernel in kernels:
        shapes += [kernel, kernel[-1:], (1, 1, kernel[-1])]
    if dense:
        shapes += [dense, dense[1:], dense[1:]]
    for size in outputs:
        kernel = (dense[1], size) if dense else (1, 1, kernels[-1][-1], size)
        shapes += [kernel, (size,)]
    return shapes


def propose(images: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Run P-Net, which sees windows of 12 x 12 pixels in steps of 2.

    Args:
        images: float32 (N, H, W, 3) RGB, normalized, of at least 12 x 12.
        weights: Its arrays.

    Returns:
        (offsets (N, h, w, 4) of the window's sides, in its widths and heights; confidences
        (N, h, w) of a face).
    """
    x = max_pool(_convolve(images, *weights[:3]), 2, pad=True)
    x = _convolve(_convolve(x, *weights[3:6]), *weights[6:9])
    box, bias, face, face_bias = weights[9:]
    return x @ box[0, 0] + bias, _confidence(x @ face[0, 0] + face_bias)


def refine(patches: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Run R-Net on float32 (N, 24, 24, 3); return offsets (N, 4) and confidences (N,)."""
    x = max_pool(_convolve(patches, *weights[:3]), 3, pad=True)
    x = max_pool(_convolve(x, *weights[3:6]), 3)
    x = _dense(_convolve(x, *weights[6:9]), *weights[9:12])
    box, bias, face, face_bias = weights[12:]
    return x @ box + bias, _confidence(x @ face + face_bias)


def locate(
    patches: np.ndarray, weights: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run O-Net on float32 (N, 48, 48, 3).

    Returns:
        (offsets (N, 4), points (N, 5, 2) in widths and heights of the patch, confidences (N,)).
    """
    x = max_pool(_convolve(patches, *weights[:3]), 3, pad=True)
    x = max_pool(_convolve(x, *weights[3:6]), 3)
    x = max_pool(_convolve(x, *weights[6:9]), 2, pad=True)
    x = _dense(_convolve(x, *weights[9:12]), *weights[12:15])
    box, bias, point, point_bias, face, face_bias = weights[15:]
    points = (x @ point + point_bias).reshape(-1, 2, 5)  # five x, then five y
    return x @ box + bias, points.transpose(0, 2, 1), _confidence(x @ face + face_bias)


def _convolve(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, slopes: np.ndarray
) -> np.ndarray:
    """Convolution without padding, and PReLU: (N, H, W, C) -> (N, h, w, filters)."""
    height, width, _, filters = kernel.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    outputs = np.empty((*windows.shape[:3], filters), x.dtype)
    flat = kernel.reshape(-1, filters)
    rows = max(1, _BAND // (windows[:, 0].size or 1))
    for start in range(0, windows.shape[1], rows):
        band = slice(start, start + rows)
        copied = windows[:, band].reshape(-1, len(flat))
        outputs[:, band] = (copied @ flat).reshape(outputs[:, band].shape)
    return _prelu(outputs, bias, slopes)


def _dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Dense layer and PReLU on (N, H, W, C), which Matlab had stored by columns."""
    return _prelu(x.transpose(0, 2, 1, 3).reshape(len(x), -1) @ kernel, bias, slopes)


def _prelu(x: np.ndarray, bias: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    x += bias
    below = np.minimum(x, 0)
    below *= slopes.ravel()
    np.maximum(x, 0, out=x)
    x += below
    return x


def max_pool(x: np.ndarray, size: int, pad: bool = False) -> np.ndarray:
    """Maximum of windows of `size` x `size` in steps of 2.

    Args:
        x: (N, H, W, C).
        size: Int.
        pad: Bool. Let the last windows reach over the border, as "same" does.

    Example:
        >>> max_pool(np.arange(25.0).reshape(1, 5, 5, 1), 3)[0, :, :, 0]
        array([[12., 14.],
               [22., 24.]])
    """
    if pad:
        over = [max((-(-side // 2) - 1) * 2 + size - side, 0) for side in x.shape[1:3]]
        sides = [(side // 2, side - side // 2) for side in over]
        x = np.pad(x, ((0, 0), *sides, (0, 0)), constant_values=-np.inf)
    height, width = ((side - size) // 2 + 1 for side in x.shape[1:3])
    shifted = (
        x[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2]
        for row in range(size)
        for column in range(size)
    )
    largest = next(shifted).copy()
    for values in shifted:
        np.maximum(largest, values, out=largest)
    return largest


def _confidence(logits: np.ndarray) -> np.ndarray:
    """Softmax of (..., no face and face): the latter."""
    # A difference of less than -88 is 0 in float32 without a warning of an overflow.
    return 1 / (1 + np.exp(np.minimum(logits[..., 0] - logits[..., 1], 88)))
