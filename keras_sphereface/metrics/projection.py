"""Linear maps of embeddings fitted on identities: LDA, WCCN, PCA whitening and PLDA.

All of them are affine, so that a dense layer after the network computes them. Cosines of the mapped
embeddings are compared as those of the network are. Covariances are shrunk towards a multiple of
the identity matrix, (1 - g) S + g tr(S) / D I: few images give no good matrix of D x D numbers.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sphereface.config.choices import PROJECTIONS
from keras_sphereface.metrics.roc import auc_score, roc_curve
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.utils.validation import check_choice


@dataclasses.dataclass(frozen=True)
class Projection:
    """An affine map of embeddings, x -> x kernel + bias.

    Attributes:
        kernel: (D, K) float64.
        bias: (K,) float64. It takes the mean of the embeddings to zero.

    Example:
        >>> projection = Projection(np.array([[2.0], [0.0]]), np.array([-1.0]))
        >>> projection(np.array([[1.0, 5.0]]))
        array([[1.]])
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Map (..., D) to (..., K)."""
        return embeddings @ self.kernel + self.bias


def fit_projection(
    embeddings: np.ndarray,
    identities: np.ndarray,
    method: str = "lda",
    shrinkage: float = 0.1,
    size: int | None = None,
) -> Projection:
    """Fit a linear map of embeddings on images of known identities.

    With the within-class covariance W, the covariance B between identities, and T = W + B:

    - "lda": the directions v of largest B v = lambda W v, each with variance 1 within identities
      (Fisher, 1936).
    - "wccn": within-class covariance normalization, W^(-1/2) (Hatch et al., Interspeech 2006).
    - "pca": whitening, T^(-1/2), without the directions of least variance where `size` asks for
      fewer.
    - "plda": as "lda", with direction i, of variance b_i between identities in units of that
      within, scaled by sqrt(b_i / (1 + 2 b_i)). The dot product of two mapped embeddings is then
      the part of the log-likelihood ratio of the two-covariance model (Bruemmer and de Villiers,
      Odyssey 2010) that depends on both; it becomes a cosine by normalization.

    Args:
        embeddings: (N, D) real numbers; an identity may have any number of rows.
        identities: (N,) integers or strings, of C identities.
        method: One of `config.choices.PROJECTIONS`.
        shrinkage: Float g in [0, 1] of W, or of T with "pca". At 1 "wccn" and "pca" keep all
            angles about the mean.
        size: Int. K, at most D, and at most C - 1 with "lda" and "plda"; None: that largest.

    Raises:
        ValueError: If an argument is out of range, shapes do not fit, an embedding is not
            finite, or the identities are fewer than two or have one image each.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> identities = np.repeat(np.arange(20), 4)
        >>> embeddings = rng.normal(size=(20, 8))[identities] + rng.normal(size=(80, 8))
        >>> fit_projection(embeddings, identities, "lda", size=5).kernel.shape
        (8, 5)
    """
    _check_method(method, shrinkage)
    rows, codes = _checked(embeddings, identities)
    return _fitted(_moments(rows, codes), method, shrinkage, size)


class _Moments(NamedTuple):
    """What a projection is fitted on: the mean (D,), W and B (D, D), and numbers.

    `images_per_class` is the one for which the expectation of B is the variance of identities and,
    of their means, W divided by it.
    """

    mean: np.ndarray
    within: np.ndarray
    between: np.ndarray
    images_per_class: float
    num_classes: int


def _check_method(method: str, shrinkage: float) -> None:
    check_choice(method, "method", PROJECTIONS)
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"`shrinkage` must be in [0, 1]. Received: shrinkage={shrinkage}")


def _fitted(moments: _Moments, method: str, shrinkage: float, size: int | None) -> Projection:
    mean, within, between, images_per_class, num_classes = moments
    dimensions = len(mean)
    is_between = method in ("lda", "plda")
    largest = min(dimensions, num_classes - 1) if is_between else dimensions
    size = largest if size is None else size
    if not 1 <= size <= largest:
        why = f", and below the number of identities, {num_classes}" if is_between else ""
        raise ValueError(
            f"`size` must be from 1 to that of the embeddings, {dimensions}{why}. "
            f"Received: size={size}"
        )
    if method == "pca":
        kernel = _whitening(_shrunk(within + between, shrinkage))[:, :size]
    else:
        # The eigenvectors of B in the space where W is the identity matrix.
        to_unit = _whitening(_shrunk(within, shrinkage))
        values, directions = np.linalg.eigh(to_unit.T @ between @ to_unit)
        largest_first = np.argsort(-values, kind="stable")[:size]
        kernel = to_unit @ directions[:, largest_first]
        if method == "plda":
            # The means of n images vary by W / n more than identities do.
            ratios = np.maximum(values[largest_first] - 1 / images_per_class, 0)
            kernel = kernel * np.sqrt(ratios / (1 + 2 * ratios))
    return Projection(kernel, -mean @ kernel)


def _checked(embeddings: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.asarray(embeddings, np.float64)
    names, codes = np.unique(np.asarray(identities), return_inverse=True)
    if rows.ndim != 2 or codes.shape != rows.shape[:1]:
        raise ValueError(
            "There must be embeddings (N, D) and an identity for each. "
            f"Received: {rows.shape} and {codes.shape}"
        )
    if not np.isfinite(rows).all():
        raise ValueError("`embeddings` must be finite. Received: nan or infinity")
    if len(names) < 2 or len(names) == len(codes):
        raise ValueError(
            "A projection is fitted on two identities or more, some with two images or more. "
            f"Received: {len(codes)} images of {len(names)} identities"
        )
    return rows, codes


def _moments(rows: np.ndarray, codes: np.ndarray) -> _Moments:
    counts, mean = np.bincount(codes), rows.mean(axis=0)
    rows = rows - mean
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, codes, rows)
    means /= counts[:, None]
    deviations = rows - means[codes]
    weighted = means * np.sqrt(counts)[:, None]
    images_per_class = (len(rows) - np.sum(counts**2) / len(rows)) / (len(counts) - 1)
    within = deviations.T @ deviations / (len(rows) - len(counts))
    between = weighted.T @ weighted / len(rows)
    return _Moments(mean, within, between, float(images_per_class), len(counts))


def _shrunk(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    scale = np.trace(covariance) / len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(covariance))


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """Return A, (D, D), with A^T S A = 1, the directions of largest variance first."""
    values, directions = np.linalg.eigh(covariance)
    if values[0] <= 1e-12 * values[-1]:
        raise ValueError(
            "The covariance of the embeddings is singular: raise `shrinkage`, or give more images. "
            f"Received: eigenvalues from {values[0]:.2g} to {values[-1]:.2g}"
        )
    return directions[:, ::-1] / np.sqrt(values[::-1])


@dataclasses.dataclass(frozen=True)
class ProjectionScore:
    """A method with a shrinkage, judged on identities that it was not fitted on.

    Attributes:
        method: One of `config.choices.PROJECTIONS`, or "none" for the embeddings as they are.
        shrinkage: Float in [0, 1]; 0 for "none".
        auc: Area under the ROC of all pairs of the images left out, mean over the folds.
        gain: `auc` minus that of "none", mean over the folds.
        standard_error: Of `gain`, over the folds.

    Example:
        >>> ProjectionScore("lda", 0.1, 0.98, 0.02, 0.005).is_better
        True
    """

    method: str
    shrinkage: float
    auc: float
    gain: float
    standard_error: float

    @property
    def is_better(self) -> bool:
        """Whether the gain is larger than two standard errors."""
        return self.gain > 2 * self.standard_error


def cross_validate_projections(
    views: np.ndarray,
    identities: np.ndarray,
    methods: Sequence[str] = tuple(PROJECTIONS),
    shrinkages: Sequence[float] = (0.01, 0.1, 0.3, 0.6, 0.9),
    size: int | None = None,
    num_folds: int = 5,
    seed: int = 0,
    max_images: int = 1500,
) -> list[ProjectionScore]:
    """Judge methods and shrinkages on identities left out, by all pairs of their images.

    Args:
        views: (N, V, D), embeddings of the image and, V = 2, of its mirror image. The map is
            fitted on all views, applied to each, and the views are joined and compared by cosine.
        identities: (N,) integers or strings.
        methods: Of `config.choices.PROJECTIONS`.
        shrinkages: Floats in [0, 1].
        size: Int. As in `fit_projection`; with "lda" and "plda" less where a fold has fewer
            identities.
        num_folds: Int >= 2. Number of parts of the identities.
        seed: Int. Seed for the parts.
        max_images: Int. Largest number of images of a part that are compared with each other.

    Returns:
        "none" first, then each method with each shrinkage.

    Raises:
        ValueError: If there are too few identities with two images, or as `fit_projection`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> identities = np.repeat(np.arange(30), 4)
        >>> noise = rng.normal(size=(120, 1, 8)) * [9, 9, 1, 1, 1, 1, 1, 1]
        >>> views = rng.normal(size=(30, 1, 8))[identities] + noise
        >>> scores = cross_validate_projections(views, identities, ["wccn"], [0.0])
        >>> [score.method for score in scores], scores[1].is_better
        (['none', 'wccn'], True)
    """
    names, codes, counts = np.unique(identities, return_inverse=True, return_counts=True)
    if np.sum(counts > 1) < 2 * num_folds:
        raise ValueError(
            f"Cross-validation in {num_folds} parts needs at least {2 * num_folds} identities with "
            f"two images or more. Received: {np.sum(counts > 1)} of {len(names)}"
        )
    rng = np.random.default_rng(seed)
    parts = np.empty(len(names), int)
    for chosen in (counts > 1, counts == 1):  # matched pairs in every part
        parts[chosen] = rng.permutation(np.sum(chosen)) % num_folds
    candidates = [(method, g) for method in methods for g in shrinkages]
    for method, shrinkage in candidates:
        _check_method(method, shrinkage)
    aucs = np.empty((1 + len(candidates), num_folds))
    for fold in range(num_folds):
        is_judged = parts[codes] == fold
        judged = _whole_identities(codes, np.flatnonzero(is_judged), max_images, rng)
        fitted, labels = views[~is_judged], codes[~is_judged]
        rows = fitted.reshape(-1, views.shape[-1])
        row_labels = np.repeat(labels, views.shape[1])
        moments = _moments(*_checked(rows, row_labels))
        largest = min(views.shape[-1], moments.num_classes - 1)
        aucs[0, fold] = _all_pairs_auc(views[judged], codes[judged])
        for i, (method, shrinkage) in enumerate(candidates, 1):
            k = min(size, largest) if size and method in ("lda", "plda") else size
            projection = _fitted(moments, method, shrinkage, k)
            aucs[i, fold] = _all_pairs_auc(projection(views[judged]), codes[judged])
    gains = aucs - aucs[0]
    errors = gains.std(axis=1, ddof=1) / np.sqrt(num_folds)
    return [
        ProjectionScore(method, shrinkage, *map(float, numbers))
        for (method, shrinkage), *numbers in zip(
            [("none", 0.0), *candidates],
            aucs.mean(axis=1),
            gains.mean(axis=1),
            errors,
            strict=True,
        )
    ]


def _whole_identities(
    codes: np.ndarray, images: np.ndarray, max_images: int, rng: np.random.Generator
) -> np.ndarray:
    """Return about `max_images` of some images, identity by identity in random order."""
    order = rng.permutation(codes.max() + 1)
    return images[np.argsort(order[codes[images]], kind="stable")][:max_images]


def _all_pairs_auc(views: np.ndarray, codes: np.ndarray) -> float:
    rows = unit_rows(views.reshape(len(views), -1), "embeddings")
    first, second = np.triu_indices(len(rows), 1)
    return auc_score(roc_curve((rows @ rows.T)[first, second], codes[first] == codes[second]))
