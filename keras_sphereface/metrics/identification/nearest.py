"""The identities of a gallery that are nearest to each probe, by their most similar entries."""

import dataclasses

import numpy as np

from keras_sphereface.metrics.identification.products import slices
from keras_sphereface.metrics.vectors import unit_rows

SCORES_AT_ONCE = 1 << 24  # at most: 64 MiB


@dataclasses.dataclass(frozen=True)
class NearestIdentities:
    """The K nearest identities of each of P probes, the most similar first.

    Attributes:
        entries: (P, K) int, the most similar entry of each.
        scores: (P, K) float32, their cosines, falling.

    Example:
        >>> nearest_identities(np.eye(2), ["ann", "bob"], np.array([[0.6, 0.8]]), 1).entries
        array([[1]])
    """

    entries: np.ndarray
    scores: np.ndarray


def nearest_identities(
    gallery: np.ndarray, gallery_labels: np.ndarray, probes: np.ndarray, count: int
) -> NearestIdentities:
    """Find the identities with the most similar entries, block by block of probes.

    Args:
        gallery: (G, D), any number of entries for each identity.
        gallery_labels: (G,) integers or strings, the identities.
        probes: (P, D).
        count: Int >= 1. K, at most the number of identities.

    Raises:
        ValueError: If a row is zero or not finite.

    Example:
        >>> gallery, labels = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), ["a", "a", "b"]
        >>> nearest = nearest_identities(gallery, labels, np.array([[0.9, 0.1], [0.0, 2.0]]), 2)
        >>> nearest.entries.tolist()
        [[0, 2], [2, 1]]
    """
    units, unit_probes = unit_rows(gallery, "gallery"), unit_rows(probes, "probes")
    codes = np.unique(gallery_labels, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    units, starts = units[order], np.flatnonzero(np.diff(codes[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    count = min(count, len(starts))
    entries = np.empty((len(probes), count), np.int64)
    scores = np.empty((len(probes), count), np.float32)
    for rows in slices(0, len(probes), max(1, SCORES_AT_ONCE // len(units))):
        of_entries = unit_probes[rows] @ units.T
        of_identities = np.maximum.reduceat(of_entries, starts, axis=1)
        best = np.argpartition(-of_identities, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(of_identities, best, axis=1)
        falling = np.argsort(-values, axis=1, kind="stable")
        scores[rows] = np.take_along_axis(values, falling, axis=1)
        for i, identities in enumerate(np.take_along_axis(best, falling, axis=1)):
            places = [starts[k] + of_entries[i, starts[k] : ends[k]].argmax() for k in identities]
            entries[rows.start + i] = order[places]
    return NearestIdentities(entries, scores)
