"""Identification and verification among distractors, after MegaFace."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from keras_sphereface.metrics.identification import inputs, products
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.utils.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class MegaFaceResult:
    """Rates of a model among the first `num_distractors` distractors.

    Attributes:
        num_distractors: Number of distractors.
        cmc: (R,) identification rate at ranks 1 to R, 0 to 1.
        tar_at_far: {false accept rate: true accept rate}, None where not one false accept is
            allowed.

    Example:
        >>> MegaFaceResult(10, np.array([0.9, 1.0]), {1e-6: None}).cmc
        array([0.9, 1. ])
    """

    num_distractors: int
    cmc: np.ndarray
    tar_at_far: dict[float, float | None]


def evaluate_megaface(
    probes: np.ndarray,
    labels: np.ndarray,
    distractors: np.ndarray,
    *,
    sizes: Sequence[int] | None = None,
    max_rank: int = 10,
    fars: Sequence[float] = (1e-6, 1e-5, 1e-4),
    block_size: int = products.BLOCK,
) -> list[MegaFaceResult]:
    """Return the rates of MegaFace at several numbers of distractors.

    For every ordered pair of different images (p, g) of one identity, g alone is put among the
    distractors and p is the probe; the rank of g is 1 plus the number of distractors with at least
    its score. For verification the same pairs are the matched ones, and all probes with all
    distractors the mismatched ones; the rates (TAR = 1 - FNMR at FAR = FMR) are exact.

    An identity with one image is in no matched pair, but in as many mismatched ones as others.

    Args:
        probes: (P, D), several images of each identity.
        labels: (P,) integers or strings, the identities.
        distractors: (N, D), in random order; may be a memmap, also of float16.
        sizes: Numbers of distractors, the first so many of them; None: 10, 100, ... and N.
        max_rank: Int. R, the last rank of the identification rates.
        fars: False accept rates, each in (0, 1].
        block_size: Int. Distractors at a time.

    Returns:
        One result for each size, from the smallest.

    Raises:
        ValueError: if shapes or labels do not fit, no identity has two images, a row is zero
            or not finite, or a size, rank or rate is out of its range.

    Reference: Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016.

    Example:
        >>> probes, labels = np.array([[1.0, 0.0], [1.0, 0.1]]), ["ann", "ann"]
        >>> (result,) = evaluate_megaface(probes, labels, np.array([[0.0, 1.0]]), max_rank=1)
        >>> result.num_distractors, result.cmc
        (1, array([1.]))
    """
    probes = np.asarray(probes)
    inputs.check_rows(probes, "probes")
    inputs.check_rows(distractors, "distractors", probes.shape[1])
    inputs.check_at_least_one(max_rank, "max_rank")
    inputs.check_at_least_one(block_size, "block_size")
    for far in fars:
        inputs.check_rate(far)
    sizes = _checked_sizes(sizes, len(distractors))
    owners, matched = _matched_scores(probes, inputs.as_labels(labels, "labels", len(probes)))
    probes = unit_rows(probes, "probes")
    tops = np.full((len(probes), max_rank), -np.inf, np.float32)
    max_accepts = inputs.max_errors(max(fars, default=0.0), len(probes) * sizes[-1])
    mismatched = _HighestScores(1 + max_accepts)
    score_tiles = products.ScoreTiles(probes)
    results = []
    bar = progress_bar(total=sizes[-1], desc="searching", unit="distractor", brief=True)
    with bar:
        for start, stop in itertools.pairwise([0, *sizes]):
            for block in products.slices(start, stop, block_size):
                units = unit_rows(distractors[block], "distractors", block.start)
                for tile, scores in score_tiles.tiles(units):
                    _keep_highest(scores, tops[tile], mismatched)
                bar.update(len(units))
            falling = mismatched.falling()
            rates = {far: _tar_at_far(matched, falling, far, len(probes) * stop) for far in fars}
            results.append(MegaFaceResult(stop, _cmc_of_pairs(owners, matched, tops), rates))
    return results


def _checked_sizes(sizes: Sequence[int] | None, num_distractors: int) -> list[int]:
    """Return the sizes, rising, each once."""
    if sizes is None:
        powers = range(1, len(str(num_distractors)))
        sizes = [*(10**power for power in powers), num_distractors]
    sizes = sorted(set(sizes))
    if not sizes or sizes[0] < 1 or sizes[-1] > num_distractors:
        raise ValueError(
            "`sizes` must be from 1 to the number of distractors, "
            f"{num_distractors}. Received: {sizes}"
        )
    return sizes


def _matched_scores(probes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probe (M,) of each ordered pair of two of one identity, and its score (M,)."""
    codes = np.unique(labels, return_inverse=True)[1]
    first, second = products.matched_pairs(codes, codes)
    first, second = first[first != second], second[first != second]
    if len(first) == 0:
        raise ValueError(
            "At least one identity needs two images. "
            f"Received: {len(labels)} images of as many identities"
        )
    return first, products.matched_scores(unit_rows(probes, "probes"), probes, first, second)


def _tar_at_far(
    matched: np.ndarray, falling: np.ndarray, far: float, num_mismatched: int
) -> float | None:
    """Return the fraction of matched scores above the first mismatched score to be refused.

    Of `num_mismatched` mismatched scores the highest are given, falling.
    """
    allowed = inputs.max_errors(far, num_mismatched)
    if allowed == 0:
        return None
    refused = falling[allowed] if allowed < num_mismatched else -np.inf
    return float(np.mean(matched > refused + products.TIE))


def _cmc_of_pairs(owners: np.ndarray, matched: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """Return the fraction of pairs with fewer than 1, 2, ..., R distractors within `TIE` or above.

    Args:
        owners: (M,) probe of each pair.
        matched: (M,) its score.
        tops: (P, R) the highest scores of each probe; -inf for fewer than R distractors.
    """
    falling = -np.sort(-tops, axis=1)
    return np.array([np.mean(at_rank[owners] < matched - products.TIE) for at_rank in falling.T])


def _keep_highest(scores: np.ndarray, tops: np.ndarray, mismatched: "_HighestScores") -> None:
    """Keep of scores (N, T) the highest R of each probe in `tops` (T, R), and those of all."""
    floors = np.minimum(tops[:, 0], mismatched.floor)
    # Over one axis, which numpy searches several times as fast as two.
    rows, owners = np.divmod(np.flatnonzero(scores > floors), scores.shape[1])
    kept = scores[rows, owners]
    mismatched.add(kept)
    is_higher = kept > tops[owners, 0]
    _merge(tops, owners[is_higher], kept[is_higher])


def _merge(tops: np.ndarray, owners: np.ndarray, scores: np.ndarray) -> None:
    """Put scores (M,) of probes `owners` (M,) among their highest R; the lowest stands first."""
    order = np.argsort(owners, kind="stable")
    touched, starts, counts = np.unique(owners[order], return_index=True, return_counts=True)
    if len(touched) == 0:
        return
    width = counts.max()
    new = np.full((len(touched), width), -np.inf, np.float32)
    rows = np.repeat(np.arange(len(touched)), counts)
    new[rows, products.ranges_of_groups(starts, counts)] = scores[order]
    both = np.concatenate([tops[touched], new], axis=1)
    tops[touched] = np.partition(both, width, axis=1)[:, width:]


class _HighestScores:
    """The highest of all scores that were added, at least `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.floor = np.float32(-np.inf)  # a score that is not above it changes nothing
        self.arrays: list[np.ndarray] = []
        self.length = 0

    def add(self, scores: np.ndarray) -> None:
        """Add scores; those that cannot be among the highest are dropped now and then."""
        self.arrays.append(scores[scores > self.floor])
        self.length += len(self.arrays[-1])
        if self.length >= 2 * self.capacity:
            kept = self.falling()[: self.capacity]
            self.arrays, self.length, self.floor = [kept], len(kept), kept[-1]

    def falling(self) -> np.ndarray:
        """Return the scores from the highest down; lower ones than `capacity` may follow."""
        return -np.sort(-np.concatenate(self.arrays))
