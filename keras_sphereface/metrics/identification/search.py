"""Search of probes in a gallery of enrolled identities.

A score is the cosine of two embeddings. Closed-set (`cmc`) and open-set (`dir_at_far`) measures
follow from the result of a search.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_sphereface.metrics.identification import inputs, products
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.utils.progress import progress_bar

DISTRACTOR = -1  # code of rows that are no probe's mate


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Result of a search for each of P probes.

    A mate is an entry of the gallery of the probe's identity. A probe with a mate is mated.

    Attributes:
        mate_scores: (P,) float32, cosine of the most similar mate; -inf for non-mated probes.
        ranks: (P,) int64, rank of the probe's identity, from 1; 0 for non-mated probes.
        top_nonmate_scores: (P,) float32, cosine of the most similar other identity; -inf if
            there is none.

    Example:
        >>> result = search_gallery(np.eye(2), ["ann", "bob"], np.eye(2)[:1], ["bob"])
        >>> result.ranks, result.mate_scores, result.top_nonmate_scores
        (array([2]), array([0.], dtype=float32), array([1.], dtype=float32))
    """

    mate_scores: np.ndarray
    ranks: np.ndarray
    top_nonmate_scores: np.ndarray


def search_gallery(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    *,
    distractors: np.ndarray | None = None,
    block_size: int = products.BLOCK,
) -> SearchResult:
    """Search every probe among all identities of the gallery and all distractors.

    The score of an identity is that of its most similar entry. The rank of the mate is 1 plus the
    number of other identities with a score of at least the mate's minus `TIE`: a tie counts
    against the model.

    Args:
        gallery: (G, D), any number of entries for each identity.
        gallery_labels: (G,) integers or strings, the identities.
        probes: (P, D).
        probe_labels: (P,), of the same kind as those of the gallery.
        distractors: (N, D), each another identity that is no probe's mate; may be a memmap.
        block_size: Int. Rows of the gallery at a time.

    Raises:
        ValueError: if shapes or labels do not fit, there is no probe or no entry, or a row is
            zero or not finite.

    Example:
        >>> gallery, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), ["ann", "bob"]
        >>> probes = np.array([[0.9, 0.1], [0.6, 0.8]])
        >>> search_gallery(gallery, labels, probes, ["ann", "ann"]).ranks
        array([1, 2])
    """
    gallery, probes = np.asarray(gallery), np.asarray(probes)
    inputs.check_rows(probes, "probes")
    inputs.check_rows(gallery, "gallery", probes.shape[1])
    inputs.check_at_least_one(block_size, "block_size")
    distractors = np.empty((0, probes.shape[1])) if distractors is None else distractors
    inputs.check_rows(distractors, "distractors", probes.shape[1], min_rows=0)
    gallery_labels = inputs.as_labels(gallery_labels, "gallery_labels", len(gallery))
    probe_labels = inputs.as_labels(probe_labels, "probe_labels", len(probes))
    entry_codes, probe_codes = inputs.common_codes(gallery_labels, probe_labels)
    probes = unit_rows(probes, "probes")
    pairs = products.matched_pairs(probe_codes, entry_codes)
    mates = np.full(len(probes), -np.inf, np.float32)
    np.maximum.at(mates, pairs[0], products.matched_scores(probes, gallery, *pairs))
    # No score reaches the limit of a non-mated probe.
    limits = np.where(np.isneginf(mates), np.float32(np.inf), mates - products.TIE)
    ahead = np.zeros(len(probes), np.int64)
    tops = np.full(len(probes), -np.inf, np.float32)
    blocks = _identity_scores(gallery, entry_codes, distractors, probes, block_size)
    for identities, tile, scores in blocks:
        _hide_mates(scores, identities, probe_codes[tile])
        best = scores.max(axis=0)
        tops[tile] = np.maximum(tops[tile], best)
        columns = np.flatnonzero(best >= limits[tile])
        reached = scores[:, columns] >= limits[tile][columns]
        ahead[tile.start + columns] += np.count_nonzero(reached, axis=0)
    return SearchResult(mates, np.where(np.isneginf(mates), 0, 1 + ahead), tops)


def _identity_scores(
    gallery: np.ndarray,
    entry_codes: np.ndarray,
    distractors: np.ndarray,
    unit_probes: np.ndarray,
    block_size: int,
) -> Iterator[tuple[np.ndarray, slice, np.ndarray]]:
    """Yield identities (I,), a tile of T probes and the scores (I, T), block by block."""
    score_tiles = products.ScoreTiles(unit_probes)
    total = len(gallery) + len(distractors)
    with progress_bar(total=total, desc="searching", unit="entry", brief=True) as bar:
        for identities, rows in _identity_blocks(entry_codes, block_size):
            units = products.gallery_rows(gallery, rows.ravel())
            for tile, scores in score_tiles.tiles(units):
                num_entries = rows.shape[1]
                if num_entries > 1:
                    scores = scores.reshape(len(rows), num_entries, -1).max(axis=1)
                yield identities, tile, scores
            bar.update(rows.size)
        for block in products.slices(0, len(distractors), block_size):
            units = unit_rows(distractors[block], "distractors", block.start)
            for tile, scores in score_tiles.tiles(units):
                yield np.full(len(units), DISTRACTOR), tile, scores
            bar.update(len(units))


def _identity_blocks(codes: np.ndarray, block_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield identities (I,) and their E entries (I, E) in a gallery.

    Identities with equally many entries come together: the best score of each is then a maximum
    along an axis, which takes a fraction of the time of one over groups of several sizes.
    """
    order = np.argsort(codes, kind="stable")
    identities, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
    for count in np.unique(counts):
        of_count = np.flatnonzero(counts == count)
        for block in products.slices(0, len(of_count), max(1, block_size // count)):
            chosen = of_count[block]
            yield identities[chosen], order[starts[chosen][:, None] + np.arange(count)]


def _hide_mates(scores: np.ndarray, identities: np.ndarray, probe_codes: np.ndarray) -> None:
    """Set the scores (I, T) of probes with their own identity (I,) to -inf."""
    order = np.argsort(identities, kind="stable")
    place = np.searchsorted(identities, probe_codes, sorter=order)
    rows = order[np.minimum(place, len(identities) - 1)]
    mated = np.flatnonzero(identities[rows] == probe_codes)
    scores[rows[mated], mated] = -np.inf
