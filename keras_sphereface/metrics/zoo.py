"""Errors by identity: who is not recognized, and who is mistaken for others.

Doddington's zoo names identities by their errors: a goat is not recognized as itself, a lamb is
easily imitated, and a wolf imitates others. Where a score is the same in both directions a lamb and
a wolf are one.

Reference: Doddington et al., "Sheep, goats, lambs and wolves", ICSLP 1998.
"""

import dataclasses

import numpy as np

from keras_sphereface.metrics.comparisons import Comparisons

GOAT_ERRORS = 2.0  # standard errors of so many images, above the rate of all
GOAT_IMAGES = 3  # at least
WOLF_RATIO = 3.0  # times as many false matches as the rate of all would give
WOLF_ERRORS = 5  # at least
CHANCE_DRAWS = 100


@dataclasses.dataclass(frozen=True)
class IdentityErrors:
    """Errors of each of I identities at a threshold.

    Attributes:
        num_images: (I,) int.
        num_matched: (I,) int, matched comparisons.
        num_false_nonmatches: (I,) int, those below the threshold.
        num_false_matches: (I,) int, mismatched comparisons with an image of it at or above the
            threshold; each counts for both of its identities.
        is_goat: (I,) bool. Three images or more, and a false non-match rate above that of all by
            two standard errors: those of a share of as many independent trials as there are images.
        is_wolf: (I,) bool, wolves and lambs. Five false matches or more, and more than three times
            as many as its images would have at the false match rate of all.

    Example:
        >>> none = np.zeros(2, int)
        >>> IdentityErrors(none, none, none, none, none > 0, none > 0).num_images
        array([0, 0])
    """

    num_images: np.ndarray
    num_matched: np.ndarray
    num_false_nonmatches: np.ndarray
    num_false_matches: np.ndarray
    is_goat: np.ndarray
    is_wolf: np.ndarray


def errors_by_identity(
    comparisons: Comparisons, identities: np.ndarray, threshold: float
) -> IdentityErrors:
    """Count the errors of each identity.

    Args:
        comparisons: All comparisons of N images.
        identities: (N,) int from 0, the identity of each image.
        threshold: Lowest score of a match.

    Example:
        >>> from keras_sphereface.metrics.comparisons import compare_all
        >>> identities = np.array([0, 0, 1])
        >>> comparisons = compare_all(np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]), identities, 9)
        >>> errors = errors_by_identity(comparisons, identities, 0.5)
        >>> errors.num_false_nonmatches, errors.num_false_matches
        (array([1, 0]), array([1, 1]))
    """
    count = int(identities.max()) + 1
    num_images = np.bincount(identities, minlength=count)
    matched, fails = comparisons.matched, comparisons.false_nonmatches(threshold)
    num_matched = np.bincount(identities[matched[:, 0]], minlength=count)
    num_fails = np.bincount(identities[matched[fails, 0]], minlength=count)
    false_matches = comparisons.false_matches(threshold)
    num_false = np.bincount(identities[false_matches].ravel(), minlength=count)
    fnmr = fails.mean() if len(fails) else 0.0
    with np.errstate(invalid="ignore"):  # without a matched comparison
        own_fnmr = num_fails / num_matched
    limits = fnmr + GOAT_ERRORS * np.sqrt(fnmr * (1 - fnmr) / np.maximum(num_images, 1))
    fmr = len(false_matches) / comparisons.num_mismatched
    expected = fmr * num_images * (len(identities) - num_images)
    return IdentityErrors(
        num_images,
        num_matched,
        num_fails,
        num_false,
        is_goat=(num_images >= GOAT_IMAGES) & (own_fnmr > limits),
        is_wolf=(num_false >= WOLF_ERRORS) & (num_false > WOLF_RATIO * expected),
    )


def share_with_half(errors: np.ndarray) -> float:
    """Return the smallest share of identities that have half of the errors (I,); nan without any.

    Example:
        >>> share_with_half(np.array([1, 5, 1, 1]))
        0.25
    """
    total = errors.sum()
    if total == 0:
        return float("nan")
    falling = np.cumsum(np.sort(errors)[::-1])
    return float((np.searchsorted(falling, total / 2) + 1) / len(errors))


def chance_share_with_half(
    num_errors: int, num_comparisons: np.ndarray, rng: np.random.Generator
) -> float:
    """Return `share_with_half` as it would be if each comparison were as likely to be an error.

    Args:
        num_errors: Int. Number of errors, of all identities together.
        num_comparisons: (I,) int, comparisons of each identity.
        rng: Source of the draws.

    Example:
        >>> chance_share_with_half(1000, np.ones(4), np.random.default_rng(0))
        0.5
    """
    total = num_comparisons.sum()
    if num_errors == 0 or total == 0:
        return float("nan")
    drawn = rng.multinomial(num_errors, num_comparisons / total, CHANCE_DRAWS)
    return float(np.mean([share_with_half(errors) for errors in drawn]))
