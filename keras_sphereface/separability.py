"""How tight the classes are on the sphere, and how far apart: the criterion of the paper.

The aim of SphereFace is that the largest distance within a class is smaller than the
smallest distance between classes (Liu et al., CVPR 2017, section 1). Distances are angles.
"""

from typing import NamedTuple

import numpy as np

from keras_sphereface.verification import normalize_rows


class ClassAngles(NamedTuple):
    """Angles in degrees."""

    mean_intra: float  # mean over samples of the angle to the class's mean direction
    largest_intra: float  # between two samples of one class
    smallest_inter: float  # between two samples of two classes

    @property
    def criterion_holds(self) -> bool:
        """Whether the largest intra-class angle is below the smallest inter-class angle."""
        return self.largest_intra < self.smallest_inter


def class_angles(embeddings: np.ndarray, labels: np.ndarray) -> ClassAngles:
    """Intra-class and inter-class angles of embeddings (N, D) with labels (N,).

    All N x N angles are held at once.

    Raises:
        ValueError: if there is one class only, or no class with two samples.
    """
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    labels = np.asarray(labels)
    same = labels[:, None] == labels[None]
    if same.all() or same.sum() == len(labels):
        raise ValueError(
            "At least two classes, one of them with two samples, are needed. "
            f"Received: {len(labels)} samples of {len(np.unique(labels))} classes"
        )
    cosines = unit @ unit.T
    means = np.stack([unit[labels == label].mean(0) for label in np.unique(labels)])
    own_mean = normalize_rows(means)[np.searchsorted(np.unique(labels), labels)]
    return ClassAngles(
        mean_intra=float(_degrees(np.sum(unit * own_mean, axis=1)).mean()),
        largest_intra=float(_degrees(cosines[same].min())),
        smallest_inter=float(_degrees(cosines[~same].max())),
    )


def _degrees(cosines):
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
