"""Face identification as numbers: who among many is this? NumPy arrays in, numbers out.

A score is the cosine of two embeddings: higher the more alike two faces are. `search` looks
probes up in a gallery of known people; closed-set (`cmc`) and open-set (`dir_at_far`) measures
follow from what it returns. `megaface` hides one image of a person among many strangers.

Scores are float32 products of matrices, made block by block: never probes x everything.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 1024  # rows of a gallery at a time
PARTS = 8  # of a block, whose maxima tell where to look closer
SCORES = 1 << 22  # of a block, at most, where there are enough probes: 16 MiB stay in cache
# A matrix with fewer rows may take another path through BLAS, which rounds otherwise: two
# equal images would then no longer tie.
FEWEST_ROWS = 64
# Some BLAS round equal products of a matrix differently, depending on where in it they stand:
# scores as close as this tie, and ties count against the model.
TIE = np.float32(1e-6)
# Squares of what lies beyond leave the range of float32.
SHORTEST, LONGEST = 1e-15, 1e15


class SearchResult(NamedTuple):
    """What a search found for each of P probes; a mate is the probe's person in the gallery."""

    mate_scores: np.ndarray  # (P,) float32; -inf without a mate
    ranks: np.ndarray  # (P,) int64, of the mate, from 1; 0 without a mate
    top_scores: np.ndarray  # (P,) float32, of the likest other person; -inf if there is none


class DirCurve(NamedTuple):
    """Open-set identification; point i is the decision score >= thresholds[i]."""

    far: np.ndarray  # false alarm rate, rising from 0 to 1
    dir: np.ndarray  # detection and identification rate, rising from 0
    thresholds: np.ndarray  # falling from infinity


class MegaFaceResult(NamedTuple):
    """How a model does among the first `num_distractors` distractors."""

    num_distractors: int
    cmc: np.ndarray  # (R,) identification rate at ranks 1 to R
    tar_at_far: dict[float, float | None]  # None where not one false accept is allowed


def search(
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    *,
    distractors: np.ndarray | None = None,
    block: int = BLOCK,
) -> SearchResult:
    """Look up every probe among all people of the gallery and all distractors.

    A person's score is that of the likest of the person's entries. The rank of the mate is 1
    and the number of other people whose score is at least the mate's, less `TIE`: a tie counts
    against the probe.

    Args:
        gallery: (G, D), any number of entries a person.
        gallery_labels: (G,) integers or strings, who it is.
        probes: (P, D).
        probe_labels: (P,), as those of the gallery.
        distractors: (N, D), each another person who is no probe's mate; may be a memmap.
        block: rows of the gallery at a time.

    Raises:
        ValueError: if shapes or labels do not fit, there is no probe or no entry, or a row is
            zero or not finite.
    """
    gallery, probes = np.asarray(gallery), np.asarray(probes)
    _check_rows(probes, "probes")
    _check_rows(gallery, "gallery", probes.shape[1])
    _check_at_least_1(block, "block")
    distractors = np.empty((0, probes.shape[1])) if distractors is None else distractors
    _check_rows(distractors, "distractors", probes.shape[1], fewest=0)
    gallery_labels = _checked_labels(gallery_labels, "gallery_labels", len(gallery))
    probe_labels = _checked_labels(probe_labels, "probe_labels", len(probes))
    entry_codes, probe_codes = _common_codes(gallery_labels, probe_labels)
    probes = unit_rows(probes, "probes")
    pairs = _same_person(probe_codes, entry_codes)
    mates = np.full(len(probes), -np.inf, np.float32)
    np.maximum.at(mates, pairs[0], _pair_scores(probes, gallery, *pairs))
    # Without a mate nothing can be ahead of it.
    bars = np.where(np.isneginf(mates), np.float32(np.inf), mates - TIE)
    ahead = np.zeros(len(probes), np.int64)
    tops = np.full(len(probes), -np.inf, np.float32)
    for people, scores in _people_scores(gallery, entry_codes, distractors, probes, block):
        for tile, tile_scores in scores:
            _hide_mates(tile_scores, people, probe_codes[tile])
            best = tile_scores.max(0)
            tops[tile] = np.maximum(tops[tile], best)
            some = np.flatnonzero(best >= bars[tile])
            reached = tile_scores[:, some] >= bars[tile][some]
            ahead[tile.start + some] += np.count_nonzero(reached, axis=0)
    return SearchResult(mates, np.where(np.isneginf(mates), 0, 1 + ahead), tops)


def cmc(ranks: np.ndarray, max_rank: int) -> np.ndarray:
    """Closed-set identification: the share of probes whose mate has rank 1, at most 2, ...

    Args:
        ranks: (P,), from 1, as in `SearchResult`.
        max_rank: R.

    Returns:
        (R,), rising: the cumulative match characteristic.

    Raises:
        ValueError: if there is no probe, a probe has no mate, or `max_rank` < 1.
    """
    _check_at_least_1(max_rank, "max_rank")
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or len(ranks) == 0:
        raise ValueError(f"`ranks` must be (P,), P >= 1. Received: shape {ranks.shape}")
    alone = np.flatnonzero(ranks < 1)
    if len(alone):
        raise ValueError(
            "Closed-set identification needs a mate in the gallery for every probe. "
            f"Received: none for {len(alone)} of {len(ranks)} probes, the first at {alone[0]}"
        )
    return np.searchsorted(np.sort(ranks), np.arange(1, max_rank + 1), side="right") / len(ranks)


def rank_k(ranks: np.ndarray, k: int) -> float:
    """The share of probes whose mate is among the k likest people: `cmc` at rank k."""
    return float(cmc(ranks, k)[-1])


def dir_curve(found: SearchResult, rank: int | None = 1) -> DirCurve:
    """Open-set identification at every threshold.

    A mated probe is detected and identified if its mate's score reaches the threshold and the
    mate's rank is at most `rank` (None: any rank). A probe without a mate is a false alarm if
    any person's score reaches the threshold.

    The same rates go by other names: FPIR is the false alarm rate; TPIR = 1 - FNIR with a list
    of L candidates, as for IJB and in NIST's FRVT, is the rate of detection and identification
    with `rank` = L.

    Raises:
        ValueError: if all probes are mated or none is, or `rank` < 1.

    References: Phillips, Grother and Micheals, "Evaluation Methods in Face Recognition",
    Handbook of Face Recognition; Grother and Ngan, "Face Recognition Vendor Test", NIST; Klare
    et al., "IARPA Janus Benchmark A", CVPR 2015; Whitelam et al., "IARPA Janus Benchmark-B",
    CVPRW 2017.
    """
    if rank is not None:
        _check_at_least_1(rank, "rank")
    mated = found.ranks > 0
    if mated.all() or not mated.any():
        raise ValueError(
            "Open-set identification needs probes with a mate and probes without. "
            f"Received: {np.sum(mated)} with and {np.sum(~mated)} without"
        )
    ranked = mated if rank is None else mated & (found.ranks <= rank)
    hits, alarms = np.sort(found.mate_scores[ranked]), np.sort(found.top_scores[~mated])
    falling = np.append(np.inf, np.unique(np.concatenate([hits, alarms]))[::-1])
    far = (len(alarms) - np.searchsorted(alarms, falling)) / len(alarms)
    dir_ = (len(hits) - np.searchsorted(hits, falling)) / np.sum(mated)
    return DirCurve(far, dir_, falling)


def dir_at_far(found: SearchResult, far: float, rank: int | None = 1) -> float | None:
    """The highest detection and identification rate whose false alarm rate is at most `far`.

    See `dir_curve`. With `rank` = L it is TPIR at FPIR with L candidates.

    Returns:
        The rate; None where so few probes have no mate that not one false alarm is allowed.

    Raises:
        ValueError: as `dir_curve`, or if `far` is not in (0, 1].
    """
    _check_far(far)
    curve = dir_curve(found, rank)
    if not _allowed(far, int(np.sum(found.ranks == 0))):
        return None
    return float(curve.dir[curve.far <= far].max())


def megaface(
    probes: np.ndarray,
    labels: np.ndarray,
    distractors: np.ndarray,
    *,
    sizes: Sequence[int] | None = None,
    max_rank: int = 10,
    fars: Sequence[float] = (1e-6, 1e-5, 1e-4),
    block: int = BLOCK,
) -> list[MegaFaceResult]:
    """The identification and verification of MegaFace, at several numbers of distractors.

    For every ordered pair of different images (p, g) of one person, g alone is put among the
    distractors and p is looked up; g's rank is 1 and the number of distractors that score at
    least as high with p. For verification the same pairs are to be accepted and all probes
    with all distractors to be refused; the rates are exact.

    A person with one image is in no pair, but is refused as often as the others.

    Args:
        probes: (P, D), several images a person.
        labels: (P,) integers or strings, who it is.
        distractors: (N, D), in random order; may be a memmap, also of float16.
        sizes: numbers of distractors, the first so many of them; 10, 100, ... and N if None.
        max_rank: R, up to which the identification rate is told.
        fars: false accept rates, each in (0, 1].
        block: distractors at a time.

    Returns:
        One result a size, from the smallest.

    Raises:
        ValueError: if shapes or labels do not fit, no person has two images, a row is zero
            or not finite, or a size, rank or rate is out of its range.

    Reference: Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016.
    """
    probes = np.asarray(probes)
    _check_rows(probes, "probes")
    _check_rows(distractors, "distractors", probes.shape[1])
    _check_at_least_1(max_rank, "max_rank")
    _check_at_least_1(block, "block")
    for far in fars:
        _check_far(far)
    sizes = _checked_sizes(sizes, len(distractors))
    labels = _checked_labels(labels, "labels", len(probes))
    owners, genuine = _genuine_pairs(probes, labels)
    probes = unit_rows(probes, "probes")
    tops = np.full((len(probes), max_rank), -np.inf, np.float32)
    most = _allowed(max(fars, default=0.0), len(probes) * sizes[-1])
    impostors = _Highest(1 + most)
    products = _Scores(probes)
    results = []
    for start, stop in itertools.pairwise([0, *sizes]):
        for rows in _slices(start, stop, block):
            units = unit_rows(distractors[rows], "distractors", rows.start)
            for tile, scores in products.tiles(units):
                _keep_highest(scores, tops[tile], impostors)
        falling = impostors.falling()
        rates = {far: _tar(genuine, falling, far, len(probes) * stop) for far in fars}
        results.append(MegaFaceResult(stop, _cmc_of_pairs(owners, genuine, tops), rates))
    return results


def unit_rows(rows: np.ndarray, name: str, first: int = 0) -> np.ndarray:
    """Rows (N, D) at unit length, float32.

    Args:
        rows: numbers of any type.
        name: what a message calls them.
        first: the number of the first row in messages.

    Raises:
        ValueError: if a row is zero or not finite.
    """
    rows = np.asarray(rows)
    rows = rows.astype(np.result_type(rows.dtype, np.float32), copy=False)
    # nan and infinity are looked for below.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        unusual = np.flatnonzero(~((norms > SHORTEST) & (norms < LONGEST)))
        if len(unusual):
            peaks = np.abs(rows[unusual]).max(1)
            _check_peaks(peaks, unusual + first, name)
            rows = rows.copy()
            rows[unusual] /= peaks[:, None]
            norms[unusual] = np.linalg.norm(rows[unusual], axis=1)
        return (rows / norms[:, None]).astype(np.float32, copy=False)


def _check_peaks(peaks, numbers, name):
    for bad, what in ((~np.isfinite(peaks), "finite"), (peaks == 0, "other than zero")):
        if bad.any():
            raise ValueError(
                f"Every row of `{name}` must be {what}. "
                f"Received: {np.sum(bad)} that are not, the first is row {numbers[bad][0]}"
            )


def _check_rows(rows, name, size=None, fewest=1):
    shape = np.shape(rows)
    if len(shape) != 2 or shape[0] < fewest or shape[1] != (size or shape[1]) or shape[1] == 0:
        expected = f"(N, {size or 'D'})" + (f", N >= {fewest}" if fewest else "")
        raise ValueError(f"`{name}` must be {expected}. Received: shape {shape}")
    if rows.dtype.kind not in "fiu":
        raise ValueError(f"`{name}` must be real numbers. Received: dtype {rows.dtype}")


def _check_at_least_1(value, name):
    if value < 1:
        raise ValueError(f"`{name}` must be >= 1. Received: {name}={value}")


def _check_far(far):
    if not 0 < far <= 1:
        raise ValueError(f"A false accept or alarm rate must be in (0, 1]. Received: {far}")


def _checked_sizes(sizes, most):
    """The sizes, rising, each once."""
    if sizes is None:
        sizes = [10**power for power in range(1, len(str(most)))] + [most]
    sizes = sorted(set(sizes))
    if not sizes or sizes[0] < 1 or sizes[-1] > most:
        raise ValueError(
            f"`sizes` must be from 1 to the number of distractors, {most}. Received: {sizes}"
        )
    return sizes


def _checked_labels(labels, name, length):
    """Labels as int64 or str (N,): types that compare with each other as they are."""
    labels = np.asarray(labels)
    if labels.shape != (length,):
        raise ValueError(f"`{name}` must be ({length},). Received: shape {labels.shape}")
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    raise ValueError(f"`{name}` must be integers or strings. Received: dtype {labels.dtype}")


def _common_codes(gallery_labels, probe_labels):
    """Who it is, as numbers from 0 that both share: (G,), (P,)."""
    if gallery_labels.dtype.kind != probe_labels.dtype.kind:
        raise ValueError(
            "Labels must be all integers or all strings. "
            f"Received: {gallery_labels.dtype} for the gallery, {probe_labels.dtype} for probes"
        )
    both = np.concatenate([gallery_labels, probe_labels])
    codes = np.unique(both, return_inverse=True)[1]
    return codes[: len(gallery_labels)], codes[len(gallery_labels) :]


def _same_person(probe_codes, entry_codes):
    """All pairs of one person, as (M,) probes and (M,) entries; those of a probe adjoin."""
    probes, entries = (np.argsort(codes, kind="stable") for codes in (probe_codes, entry_codes))
    first = np.searchsorted(entry_codes[entries], probe_codes[probes], side="left")
    last = np.searchsorted(entry_codes[entries], probe_codes[probes], side="right")
    counts = last - first
    within = _within(np.cumsum(counts) - counts, counts)
    return np.repeat(probes, counts), entries[np.repeat(first, counts) + within]


def _pair_scores(probes, gallery, pair_probes, pair_entries):
    """The scores (M,) of such pairs.

    They come from the same product of matrices as all others, so that equal images tie.
    """
    scores = np.empty(len(pair_probes), np.float32)
    starts = np.flatnonzero(np.diff(pair_probes, prepend=-1))[::FEWEST_ROWS]
    for start, stop in itertools.pairwise([*starts, len(scores)]):
        columns, column = np.unique(pair_probes[start:stop], return_inverse=True)
        rows, row = np.unique(pair_entries[start:stop], return_inverse=True)
        product = _product(_gallery_rows(gallery, rows), _padded(probes[columns]))
        scores[start:stop] = product[row, column]
    return scores


def _genuine_pairs(probes, labels):
    """The first image (M,) of each ordered pair of two of one person, and its score (M,)."""
    codes = np.unique(labels, return_inverse=True)[1]
    first, second = _same_person(codes, codes)
    first, second = first[first != second], second[first != second]
    if len(first) == 0:
        raise ValueError(
            "At least one person needs two images. "
            f"Received: {len(labels)} images of as many people"
        )
    return first, _pair_scores(unit_rows(probes, "probes"), probes, first, second)


def _people_scores(gallery, entry_codes, distractors, probes, block):
    """Block by block, who it is and an iterator over tiles; a distractor is nobody, -1."""
    products = _Scores(probes)
    for people, rows in _people_blocks(entry_codes, block):
        units = _gallery_rows(gallery, rows.ravel())
        yield people, _best_of_each(products.tiles(units), *rows.shape)
    for part in _slices(0, len(distractors), block):
        units = unit_rows(distractors[part], "distractors", part.start)
        yield np.full(len(units), -1), products.tiles(units)


def _people_blocks(codes, block) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """People (I,) and their entries (I, E) in a gallery.

    Those with equally many come together: the best of each is then a maximum along an axis,
    which takes a fraction of the time of one over uneven parts.
    """
    order = np.argsort(codes, kind="stable")
    people, starts, counts = np.unique(codes[order], return_index=True, return_counts=True)
    for count in np.unique(counts):
        of_count = np.flatnonzero(counts == count)
        for part in _slices(0, len(of_count), max(1, block // count)):
            chosen = of_count[part]
            yield people[chosen], order[starts[chosen][:, None] + np.arange(count)]


def _best_of_each(tiles, num_identities, entries):
    """Scores (I * E, T) -> (I, T), tile by tile."""
    for tile, scores in tiles:
        best = scores if entries == 1 else scores.reshape(num_identities, entries, -1).max(1)
        yield tile, best


def _hide_mates(scores, people, probe_codes):
    """Set the scores (I, T) of probes with their own people (I,) to -inf."""
    order = np.argsort(people, kind="stable")
    place = np.minimum(np.searchsorted(people, probe_codes, sorter=order), len(people) - 1)
    rows = order[place]
    mated = np.flatnonzero(people[rows] == probe_codes)
    scores[rows[mated], mated] = -np.inf


def _gallery_rows(gallery, rows):
    """Rows (N,) of a gallery, at unit length; messages number them as the gallery does."""
    try:
        return unit_rows(gallery[rows], "gallery")
    except ValueError:
        unit_rows(gallery, "gallery")
        raise


def _slices(start, stop, step):
    for begin in range(start, stop, step):
        yield slice(begin, min(begin + step, stop))


def _padded(rows):
    """At least `FEWEST_ROWS` rows, with zeros behind."""
    missing = max(0, FEWEST_ROWS - len(rows))
    return np.pad(rows, ((0, missing), (0, 0))) if missing else rows


def _product(rows, columns):
    """(N, D), (T, D) -> the cosines (N, T) of unit rows; T is padded already."""
    return (_padded(rows) @ columns.T)[: len(rows)]


class _Scores:
    """The cosines of unit rows with all probes, in tiles that share one piece of memory.

    Fresh memory for every tile would cost a tenth of the product itself.
    """

    def __init__(self, probes: np.ndarray):
        self.probes = probes
        self.memory = np.empty(0, np.float32)

    def tiles(self, rows):
        """The cosines (N, T) of rows (N, D); each holds until the next is taken."""
        padded = _padded(rows)
        for tile in _slices(0, len(self.probes), max(FEWEST_ROWS, SCORES // len(padded))):
            columns = _padded(self.probes[tile])
            shape = len(padded), len(columns)
            if self.memory.size < shape[0] * shape[1]:
                self.memory = np.empty(shape[0] * shape[1], np.float32)
            out = self.memory[: shape[0] * shape[1]].reshape(shape)
            np.matmul(padded, columns.T, out=out)
            yield tile, out[: len(rows), : tile.stop - tile.start]


def _allowed(far, number):
    """How many of `number` may be wrong: the most whose share is at most `far`."""
    # The product may be rounded to the wrong side of a whole number; the share decides.
    count = min(int(far * number) + 1, number)
    while count > 0 and count / number > far:
        count -= 1
    return count


def _tar(genuine, impostors, far, number):
    """The share of genuine scores above the first impostor score that must be refused.

    Of `number` impostor scores the highest are given, falling.
    """
    allowed = _allowed(far, number)
    if allowed == 0:
        return None
    refused = impostors[allowed] if allowed < number else -np.inf
    return float(np.mean(genuine > refused + TIE))


def _cmc_of_pairs(owners, genuine, tops):
    """The share of pairs with fewer than 1, 2, ..., R distractors within `TIE` or above."""
    falling = -np.sort(-tops, axis=1)  # -inf where there are fewer than R distractors
    return np.array([np.mean(at_rank[owners] < genuine - TIE) for at_rank in falling.T])


def _keep_highest(scores, tops, impostors):
    """Keep what matters of the scores (N, T): per probe in `tops` (T, R), and of all."""
    floors = np.minimum(tops[:, 0], impostors.floor)
    # Most parts of most columns hold nothing of interest: their maxima tell.
    parts = PARTS if len(scores) % PARTS == 0 else 1
    by_part = scores.reshape(parts, -1, scores.shape[1])
    part, column = np.nonzero(by_part.max(axis=1) > floors)
    if len(part) == 0:
        return
    chosen = by_part[part, :, column]  # (M, N / parts)
    # Along one axis, which numpy searches several times as fast as two.
    places = np.flatnonzero(chosen > floors[column][:, None])
    kept, owners = chosen.ravel()[places], column[places // chosen.shape[1]]
    impostors.add(kept)
    higher = kept > tops[owners, 0]
    _merge(tops, owners[higher], kept[higher])


def _merge(tops, owners, scores):
    """Put scores (M,) of probes `owners` (M,) among their highest R; the least stands first."""
    order = np.argsort(owners, kind="stable")
    touched, starts, counts = np.unique(owners[order], return_index=True, return_counts=True)
    if len(touched) == 0:
        return
    width = counts.max()
    new = np.full((len(touched), width), -np.inf, np.float32)
    new[np.repeat(np.arange(len(touched)), counts), _within(starts, counts)] = scores[order]
    both = np.concatenate([tops[touched], new], axis=1)
    tops[touched] = np.partition(both, width, axis=1)[:, width:]


def _within(starts, counts):
    """0, 1, ... within each of adjoining groups."""
    return np.arange(np.sum(counts)) - np.repeat(starts, counts)


class _Highest:
    """The highest numbers of all that were seen, at least `capacity` of them."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.floor = np.float32(-np.inf)  # what is not above it changes nothing
        self.parts: list[np.ndarray] = []
        self.length = 0

    def add(self, numbers):
        """Take in some; those that cannot be among the highest are dropped now and then."""
        self.parts.append(numbers[numbers > self.floor])
        self.length += len(self.parts[-1])
        if self.length >= 2 * self.capacity:
            kept = self.falling()[: self.capacity]
            self.parts, self.length, self.floor = [kept], len(kept), kept[-1]

    def falling(self):
        """The numbers from the highest down; some that are not among the highest may follow."""
        return -np.sort(-np.concatenate(self.parts))
