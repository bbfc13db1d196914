"""How tight the classes are on the sphere, and how far apart: the criterion of the paper.

The aim of SphereFace is that the largest distance within a class is smaller than the
smallest distance between classes (Liu et al., CVPR 2017, section 1). Distances are angles.
"""

from typing import NamedTuple

import numpy as np

from keras_sphereface.metrics.roc import normalize_rows

BLOCK = 256  # rows of the matrix of all angles that are held at once


class ClassAngles(NamedTuple):
    """Angles in degrees between the samples of C classes."""

    classes: np.ndarray  # (C,) their labels
    mean_intra: float  # mean over samples of the angle to the class's mean direction
    largest_intra_of: np.ndarray  # (C,) between two of its samples; nan where it has one only
    smallest_inter_of: np.ndarray  # (C,) between one of its samples and another class's
    intra_counts: np.ndarray  # (180,) pairs within classes, by whole degrees: 0 to 1, ...
    inter_counts: np.ndarray  # (180,) pairs between classes

    @property
    def largest_intra(self) -> float:
        """Between two samples of one class, of all classes."""
        return float(np.nanmax(self.largest_intra_of))

    @property
    def smallest_inter(self) -> float:
        """Between two samples of two classes."""
        return float(self.smallest_inter_of.min())

    @property
    def criterion_holds(self) -> bool:
        """Whether the largest intra-class angle is below the smallest inter-class angle."""
        return self.largest_intra < self.smallest_inter

    @property
    def share_of_classes(self) -> float:
        """Of the classes with two samples or more, the part whose own two angles fulfil it."""
        several = np.isfinite(self.largest_intra_of)
        return float(np.mean(self.largest_intra_of[several] < self.smallest_inter_of[several]))


def class_angles(embeddings: np.ndarray, labels: np.ndarray) -> ClassAngles:
    """Intra-class and inter-class angles of embeddings (N, D) with labels (N,).

    Raises:
        ValueError: if there is one class only, or no class with two samples.
    """
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    classes, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or sizes.max() < 2:
        raise ValueError(
            "At least two classes, one of them with two samples, are needed. "
            f"Received: {len(index)} samples of {len(classes)} classes"
        )
    own_mean = _class_means(unit, index)
    nearest, farthest = np.empty(len(unit)), np.empty(len(unit))  # cosines
    counts = np.zeros((2, 180), np.int64)
    for start in range(0, len(unit), BLOCK):
        rows = slice(start, start + BLOCK)
        cosines = unit[rows] @ unit.T
        same = index[rows, None] == index
        nearest[rows] = np.where(same, -np.inf, cosines).max(axis=1)
        # The angle of a sample to itself is no pair.
        same[np.arange(len(same)), np.arange(start, start + len(same))] = False
        farthest[rows] = np.where(same, cosines, np.inf).min(axis=1)
        # Each pair once: from the sample that comes first.
        later = np.arange(len(unit)) > np.arange(start, start + len(same))[:, None]
        degrees = np.minimum(angles_of(cosines[later]).astype(np.int64), 179)
        counts += [np.bincount(degrees[chosen], minlength=180) for chosen in _sides(same[later])]
    smallest_inter, largest_intra = np.full(len(classes), -np.inf), np.full(len(classes), np.inf)
    np.maximum.at(smallest_inter, index, nearest)
    np.minimum.at(largest_intra, index, farthest)
    return ClassAngles(
        classes=classes,
        mean_intra=float(angles_of(np.einsum("nd,nd->n", unit, own_mean)).mean()),
        largest_intra_of=np.where(sizes > 1, angles_of(largest_intra), np.nan),
        smallest_inter_of=angles_of(smallest_inter),
        intra_counts=counts[0],
        inter_counts=counts[1],
    )


class PairAngles(NamedTuple):
    """Angles in degrees of pairs, where nothing is known of who is on the images beside that."""

    largest_intra: float  # of a matched pair
    smallest_inter: float  # of a mismatched one
    intra_counts: np.ndarray  # (180,) by whole degrees
    inter_counts: np.ndarray  # (180,)

    @property
    def criterion_holds(self) -> bool:
        return self.largest_intra < self.smallest_inter


def pair_angles(embeddings: np.ndarray, pairs: np.ndarray, is_same: np.ndarray) -> PairAngles:
    """The angles of pairs (P, 2) of rows of embeddings (N, D); is_same (P,) has both kinds."""
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    degrees = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        rows = slice(start, start + BLOCK)
        first, second = unit[pairs[rows, 0]], unit[pairs[rows, 1]]
        degrees[rows] = angles_of(np.einsum("pd,pd->p", first, second))
    bins = np.minimum(degrees.astype(np.int64), 179)
    intra, inter = (np.bincount(bins[side], minlength=180) for side in _sides(is_same))
    return PairAngles(float(degrees[is_same].max()), float(degrees[~is_same].min()), intra, inter)


def angular_fisher_score(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """How wide the classes are, beside how far apart: S_w / S_b; the lower, the better.

    S_w is the sum of 1 - cos(x, m_i) over the samples, S_b that of 1 - cos(m_i, m), with m_i the
    mean direction of the sample's class and m that of all samples. It grows without bound as the
    classes come to have one mean direction.

    Args:
        embeddings: (N, D).
        labels: (N,).

    Reference: Liu et al., "SphereFace", CVPR 2017, the angular Fisher score of its appendix;
    there of features as they are, here of their directions.
    """
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    own_mean = _class_means(unit, np.unique(labels, return_inverse=True)[1])
    within = np.sum(1.0 - np.einsum("nd,nd->n", unit, own_mean))
    between = np.sum(1.0 - own_mean @ normalize_rows(unit.sum(axis=0, keepdims=True))[0])
    return float(within / between) if between > 0 else float("inf")


class Neighbors(NamedTuple):
    """The P pairs of classes of which one is the other's nearest."""

    pairs: np.ndarray  # (P, 2) labels, the lower first
    angles: np.ndarray  # (P,) between the two class weights, degrees


def neighbors(kernel: np.ndarray) -> Neighbors:
    """The classes beside each other, by the directions of the class weights (D, C)."""
    unit = normalize_rows(np.asarray(kernel, np.float64).T)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.stack([np.arange(len(unit)), cosines.argmax(axis=1)], axis=1)
    pairs = np.unique(np.sort(nearest, axis=1), axis=0)
    return Neighbors(pairs, angles_of(cosines[pairs[:, 0], pairs[:, 1]]))


def gaps(embeddings: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The smallest angle between a sample of one class and a sample of the other, in degrees.

    Args:
        embeddings: (N, D).
        labels: (N,).
        pairs: (P, 2) labels of two classes each.

    Returns:
        (P,); nan where one of the two has no sample.
    """
    unit = normalize_rows(np.asarray(embeddings, np.float64))
    samples = {label: unit[labels == label] for label in np.unique(pairs)}
    between = (samples[first] @ samples[second].T for first, second in pairs)
    return np.array([angles_of(cosines.max()) if cosines.size else np.nan for cosines in between])


def _class_means(unit, index):
    """The mean direction (N, D) of the class of each of the unit vectors (N, D)."""
    means = np.zeros((index.max() + 1, unit.shape[1]))
    np.add.at(means, index, unit)
    return normalize_rows(means)[index]


def _sides(chosen):
    return chosen, ~chosen


def angles_of(cosines: np.ndarray) -> np.ndarray:
    """Degrees of cosines, which rounding may have carried beyond -1 or 1."""
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
