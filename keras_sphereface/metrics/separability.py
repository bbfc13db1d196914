"""Angles within and between classes on the sphere: the criterion of the SphereFace paper.

SphereFace aims at a largest intra-class distance below the smallest inter-class distance (Liu et
al., CVPR 2017, section 1). Distances here are angles.
"""

import dataclasses

import numpy as np

from keras_sphereface.metrics import vectors

BLOCK = 256  # rows of the matrix of all angles that are held at once
NUM_BINS = 180  # of histograms of angles: whole degrees


@dataclasses.dataclass(frozen=True)
class ClassAngles:
    """Angles in degrees between the samples of C classes.

    Attributes:
        classes: (C,) labels of the classes.
        mean_intra: Mean over samples of the angle to the mean direction of the class.
        largest_intra_by_class: (C,) largest angle between two samples of the class; nan for a
            class with a single sample.
        smallest_inter_by_class: (C,) smallest angle between a sample of the class and one of
            another class.
        intra_counts: (180,) number of pairs within classes by whole degrees: 0 to 1, ...
        inter_counts: (180,) number of pairs between classes.

    Example:
        >>> angles = class_angles(np.eye(3)[[0, 0, 1]], np.array([7, 7, 8]))
        >>> angles.largest_intra, angles.smallest_inter, angles.criterion_holds
        (0.0, 90.0, True)
    """

    classes: np.ndarray
    mean_intra: float
    largest_intra_by_class: np.ndarray
    smallest_inter_by_class: np.ndarray
    intra_counts: np.ndarray
    inter_counts: np.ndarray

    @property
    def largest_intra(self) -> float:
        """Largest angle between two samples of one class, over all classes."""
        return float(np.nanmax(self.largest_intra_by_class))

    @property
    def smallest_inter(self) -> float:
        """Smallest angle between two samples of different classes."""
        return float(self.smallest_inter_by_class.min())

    @property
    def criterion_holds(self) -> bool:
        """True if the largest intra-class angle is below the smallest inter-class angle."""
        return self.largest_intra < self.smallest_inter

    @property
    def share_of_classes(self) -> float:
        """Fraction, 0 to 1, of the classes with two samples or more that fulfill the criterion.

        Such a class's largest intra-class angle is below its own smallest inter-class angle.
        """
        has_several = np.isfinite(self.largest_intra_by_class)
        holds = self.largest_intra_by_class < self.smallest_inter_by_class
        return float(np.mean(holds[has_several]))


@dataclasses.dataclass(frozen=True)
class PairAngles:
    """Angles in degrees of pairs, for images without identities.

    Attributes:
        largest_intra: Largest angle of a matched pair.
        smallest_inter: Smallest angle of a mismatched pair.
        intra_counts: (180,) number of matched pairs by whole degrees: 0 to 1, ...
        inter_counts: (180,) number of mismatched pairs.

    Example:
        >>> pairs, is_same = np.array([(0, 1), (0, 2)]), np.array([True, False])
        >>> angles = pair_angles(np.eye(3)[[0, 0, 1]], pairs, is_same)
        >>> angles.largest_intra, angles.smallest_inter, angles.criterion_holds
        (0.0, 90.0, True)
    """

    largest_intra: float
    smallest_inter: float
    intra_counts: np.ndarray
    inter_counts: np.ndarray

    @property
    def criterion_holds(self) -> bool:
        """True if every matched pair has a smaller angle than every mismatched pair."""
        return self.largest_intra < self.smallest_inter


@dataclasses.dataclass(frozen=True)
class ClassNeighbors:
    """P pairs of classes of which one is the nearest class of the other.

    Attributes:
        pairs: (P, 2) labels, the lower first.
        angles: (P,) angle between the two class weights, degrees.

    Example:
        >>> nearest_classes(np.eye(2)).angles
        array([90.])
    """

    pairs: np.ndarray
    angles: np.ndarray


def class_angles(embeddings: np.ndarray, labels: np.ndarray) -> ClassAngles:
    """Return intra-class and inter-class angles of all pairs of samples.

    Args:
        embeddings: (N, D).
        labels: (N,).

    Raises:
        ValueError: if there is one class only, or no class with two samples.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
        >>> angles = class_angles(embeddings, np.array(["a", "a", "b"]))
        >>> round(angles.largest_intra, 3), round(angles.smallest_inter, 3)
        (45.0, 135.0)
    """
    unit = vectors.normalize_rows(np.asarray(embeddings, np.float64))
    classes, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or sizes.max() < 2:
        raise ValueError(
            "At least two classes, one of them with two samples, are needed. "
            f"Received: {len(codes)} samples of {len(classes)} classes"
        )
    highest_inter, lowest_intra = np.empty(len(unit)), np.empty(len(unit))  # cosines
    counts = np.zeros((2, NUM_BINS), np.int64)
    for start in range(0, len(unit), BLOCK):
        rows = slice(start, start + BLOCK)
        cosines = unit[rows] @ unit.T
        is_same = codes[rows, None] == codes
        highest_inter[rows] = np.where(is_same, -np.inf, cosines).max(axis=1)
        # The angle of a sample to itself is no pair.
        is_same[np.arange(len(is_same)), np.arange(start, start + len(is_same))] = False
        lowest_intra[rows] = np.where(is_same, cosines, np.inf).min(axis=1)
        # Each pair once: from the sample that comes first.
        later = np.arange(len(unit)) > np.arange(start, start + len(is_same))[:, None]
        counts += _histograms(vectors.degrees_from_cosines(cosines[later]), is_same[later])
    to_mean = vectors.row_products(unit, _class_means(unit, codes))
    inter_by_class, intra_by_class = np.full(len(classes), -np.inf), np.full(len(classes), np.inf)
    np.maximum.at(inter_by_class, codes, highest_inter)
    np.minimum.at(intra_by_class, codes, lowest_intra)
    intra_by_class[sizes == 1] = np.nan
    return ClassAngles(
        classes=classes,
        mean_intra=float(vectors.degrees_from_cosines(to_mean).mean()),
        largest_intra_by_class=vectors.degrees_from_cosines(intra_by_class),
        smallest_inter_by_class=vectors.degrees_from_cosines(inter_by_class),
        intra_counts=counts[0],
        inter_counts=counts[1],
    )


def pair_angles(embeddings: np.ndarray, pairs: np.ndarray, is_same: np.ndarray) -> PairAngles:
    """Return the angles of pairs of embeddings.

    Args:
        embeddings: (N, D).
        pairs: (P, 2) int, rows of the two embeddings of each pair.
        is_same: (P,) bool, True for matched pairs; both kinds among them.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
        >>> angles = pair_angles(embeddings, np.array([(0, 1), (0, 2)]), np.array([True, False]))
        >>> round(angles.largest_intra, 3), round(angles.smallest_inter, 3)
        (45.0, 180.0)
    """
    unit = vectors.normalize_rows(np.asarray(embeddings, np.float64))
    degrees = vectors.degrees_from_cosines(vectors.pair_products(unit, pairs))
    intra_counts, inter_counts = _histograms(degrees, is_same)
    largest_intra, smallest_inter = degrees[is_same].max(), degrees[~is_same].min()
    return PairAngles(float(largest_intra), float(smallest_inter), intra_counts, inter_counts)


def angular_fisher_score(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """Return the angular Fisher score S_w / S_b, >= 0; lower means better separated classes.

    S_w is the sum of 1 - cos(x, m_i) over the samples, S_b that of 1 - cos(m_i, m), with m_i the
    mean direction of the sample's class and m that of all samples. The score grows without bound
    as the mean directions of the classes become equal.

    Args:
        embeddings: (N, D).
        labels: (N,).

    Reference: Liu et al., "SphereFace", CVPR 2017, angular Fisher score of the appendix; there
    of the features themselves, here of their directions.

    Example:
        >>> angular_fisher_score(np.eye(3)[[0, 0, 1]], np.array([7, 7, 8]))
        0.0
    """
    unit = vectors.normalize_rows(np.asarray(embeddings, np.float64))
    class_means = _class_means(unit, np.unique(labels, return_inverse=True)[1])
    within = np.sum(1.0 - vectors.row_products(unit, class_means))
    between = np.sum(1.0 - class_means @ vectors.normalize_rows(unit.sum(axis=0, keepdims=True))[0])
    return float(within / between) if between > 0 else float("inf")


def nearest_classes(kernel: np.ndarray) -> ClassNeighbors:
    """Return each class with its nearest one, by the directions of the class weights (D, C).

    Example:
        >>> nearest_classes(np.array([[1.0, 1.0, -1.0], [0.0, 0.1, 0.0]])).pairs
        array([[0, 1],
               [1, 2]])
    """
    unit = vectors.normalize_rows(np.asarray(kernel, np.float64).T)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.stack([np.arange(len(unit)), cosines.argmax(axis=1)], axis=1)
    pairs = np.unique(np.sort(nearest, axis=1), axis=0)
    return ClassNeighbors(pairs, vectors.degrees_from_cosines(cosines[pairs[:, 0], pairs[:, 1]]))


def angular_gaps(embeddings: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the smallest angle between the samples of two classes, for pairs of classes.

    Args:
        embeddings: (N, D).
        labels: (N,).
        pairs: (P, 2) labels of two classes each.

    Returns:
        (P,) degrees; nan where one of the two classes has no sample.

    Example:
        >>> angular_gaps(np.eye(3)[[0, 0, 1]], np.array([7, 7, 8]), np.array([(7, 8)]))
        array([90.])
    """
    unit = vectors.normalize_rows(np.asarray(embeddings, np.float64))
    samples = {label: unit[labels == label] for label in np.unique(pairs)}
    between = (samples[first] @ samples[second].T for first, second in pairs)
    highest = [cosines.max() if cosines.size else np.nan for cosines in between]
    return vectors.degrees_from_cosines(np.array(highest))


def _class_means(unit: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the mean direction (N, D) of the class of each unit vector (N, D)."""
    means = np.zeros((codes.max() + 1, unit.shape[1]))
    np.add.at(means, codes, unit)
    return vectors.normalize_rows(means)[codes]


def _histograms(degrees: np.ndarray, is_same: np.ndarray) -> np.ndarray:
    """Count angles (P,) by whole degrees: (2, 180), of matched and of mismatched pairs."""
    bins = np.minimum(degrees.astype(np.int64), NUM_BINS - 1)
    return np.stack([np.bincount(bins[side], minlength=NUM_BINS) for side in (is_same, ~is_same)])
