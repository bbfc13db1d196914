"""Baselines: the minimum work of a conversion, and the protocols by brute force.

Processes import this module, which therefore needs no TensorFlow.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_sphereface.data import images


def decode_and_encode(files: Iterable[Path]) -> None:
    """Decode each image, and encode a face from its corner."""
    height, width = images.IMAGE_SIZE
    for file in files:
        images.encode(images.decode(file.read_bytes())[:height, :width])


def copy_files(folder: Path, files: Iterable[Path]) -> None:
    """Copy each image to FOLDER/IDENTITY."""
    for file in files:
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.parent.name / file.name)


def brute_force_accuracy(
    protocol: str, views: np.ndarray, pairs: np.ndarray, is_same: np.ndarray, test: np.ndarray
) -> float:
    """Return the accuracy of a protocol on one fold, with one threshold tried after the other.

    Args:
        protocol: "sphereface", "insightface" or "plain".
        views: (N, 2, D) embeddings of N images and of their mirror images.
        pairs: (P, 2) int, rows of the two images of each pair.
        is_same: (P,) bool, True for matched pairs.
        test: (P,) bool, the pairs of the fold.
    """
    function = {"sphereface": _sphereface, "insightface": _insightface, "plain": _plain}[protocol]
    first, second = (views[pairs[:, side]].astype(np.float64) for side in (0, 1))
    is_right = function(first, second, is_same, ~test)
    return float(np.mean(is_right[test]))


def _sphereface(
    first: np.ndarray, second: np.ndarray, is_same: np.ndarray, train: np.ndarray
) -> np.ndarray:
    first, second = (side.reshape(len(side), -1) for side in (first, second))
    mean = np.mean(np.concatenate([first[train], second[train]]), axis=0)
    a, b = first - mean, second - mean
    scores = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    thresholds = np.arange(-10_000, 10_001) / 10_000
    decisions = (np.where(is_same, scores > t, scores < t)[train] for t in thresholds)
    counts = np.array([np.sum(is_right) for is_right in decisions])
    threshold = np.mean(thresholds[counts == counts.max()])
    return np.where(is_same, scores > threshold, scores < threshold)


def _insightface(
    first: np.ndarray, second: np.ndarray, is_same: np.ndarray, train: np.ndarray
) -> np.ndarray:
    a, b = (
        side.sum(1) / np.linalg.norm(side.sum(1), axis=1, keepdims=True) for side in (first, second)
    )
    distances = ((a - b) ** 2).sum(1)
    thresholds = np.arange(0, 4, 0.01)
    counts = [np.sum(((distances < t) == is_same)[train]) for t in thresholds]
    return (distances < thresholds[np.argmax(counts)]) == is_same


def _plain(
    first: np.ndarray, second: np.ndarray, is_same: np.ndarray, train: np.ndarray
) -> np.ndarray:
    a, b = (
        side[:, 0] / np.linalg.norm(side[:, 0], axis=1, keepdims=True) for side in (first, second)
    )
    cosines = (a * b).sum(1)
    thresholds = np.sort(cosines[train])[::-1]
    counts = [np.sum(((cosines >= t) == is_same)[train]) for t in thresholds]
    return (cosines >= thresholds[np.argmax(counts)]) == is_same
