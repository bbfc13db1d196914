"""Cosines of many unit rows as float32 products of matrices, block by block.

The whole matrix, probes x everything, is never held.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from keras_sphereface.metrics.vectors import unit_rows

BLOCK = 1024  # rows of a gallery at a time
SCORES_PER_TILE = 1 << 22  # at most, where there are enough probes: 16 MiB stay in cache
# A matrix with fewer rows may take another path through BLAS, which rounds otherwise: two equal
# images would then no longer tie.
MIN_ROWS = 64
# Some BLAS round equal products of a matrix differently, depending on where in it they stand:
# scores as close as this tie, and ties count against the model.
TIE = np.float32(1e-6)


class ScoreTiles:
    """The cosines of unit rows with all probes, in tiles that share one piece of memory.

    Fresh memory for every tile would cost a tenth of the product itself.
    """

    def __init__(self, probes: np.ndarray) -> None:
        self.probes = probes
        self.memory = np.empty(0, np.float32)

    def tiles(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (T probes, their cosines (N, T) with rows (N, D)); each holds until the next."""
        padded = _padded(rows)
        for tile in slices(0, len(self.probes), max(MIN_ROWS, SCORES_PER_TILE // len(padded))):
            columns = _padded(self.probes[tile])
            shape = len(padded), len(columns)
            if self.memory.size < shape[0] * shape[1]:
                self.memory = np.empty(shape[0] * shape[1], np.float32)
            out = self.memory[: shape[0] * shape[1]].reshape(shape)
            np.matmul(padded, columns.T, out=out)
            yield tile, out[: len(rows), : tile.stop - tile.start]


def matched_pairs(
    probe_codes: np.ndarray, entry_codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of one identity: (M,) probes and (M,) entries; those of a probe adjoin."""
    probes, entries = (np.argsort(codes, kind="stable") for codes in (probe_codes, entry_codes))
    first = np.searchsorted(entry_codes[entries], probe_codes[probes], side="left")
    last = np.searchsorted(entry_codes[entries], probe_codes[probes], side="right")
    counts = last - first
    within = ranges_of_groups(np.cumsum(counts) - counts, counts)
    return np.repeat(probes, counts), entries[np.repeat(first, counts) + within]


def matched_scores(
    unit_probes: np.ndarray,
    gallery: np.ndarray,
    pair_probes: np.ndarray,
    pair_entries: np.ndarray,
) -> np.ndarray:
    """Return the scores (M,) of `matched_pairs`.

    They come from the same kind of matrix product as all others, so that equal images tie.
    """
    scores = np.empty(len(pair_probes), np.float32)
    starts = np.flatnonzero(np.diff(pair_probes, prepend=-1))[::MIN_ROWS]
    for start, stop in itertools.pairwise([*starts, len(scores)]):
        columns, column = np.unique(pair_probes[start:stop], return_inverse=True)
        rows, row = np.unique(pair_entries[start:stop], return_inverse=True)
        units = _padded(gallery_rows(gallery, rows))
        scores[start:stop] = (units @ _padded(unit_probes[columns]).T)[row, column]
    return scores


def gallery_rows(gallery: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows (N,) of a gallery at unit length; messages number them as the gallery does."""
    try:
        return unit_rows(gallery[rows], "gallery")
    except ValueError:
        unit_rows(gallery, "gallery")
        raise


def slices(start: int, stop: int, step: int) -> Iterator[slice]:
    """Yield the slices of `step` rows from `start` to `stop`; the last may be shorter."""
    for begin in range(start, stop, step):
        yield slice(begin, min(begin + step, stop))


def ranges_of_groups(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... within each of adjoining groups."""
    return np.arange(np.sum(counts)) - np.repeat(starts, counts)


def _padded(rows: np.ndarray) -> np.ndarray:
    """Append zero rows up to `MIN_ROWS` rows."""
    missing = max(0, MIN_ROWS - len(rows))
    return np.pad(rows, ((0, missing), (0, 0))) if missing else rows
