"""Exact search of embeddings among templates in memory, by products of matrices."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.utils.validation import check_choice

# Of an identity with several templates: "best" is the score of the most similar one, "mean" that
# of the mean of the templates, which enter with their lengths.
FUSIONS = ("best", "mean")
SCORES_AT_ONCE = 1 << 24  # float32: 64 MiB beside the templates
_MEANS_AT_ONCE = 1024  # identities


@dataclasses.dataclass(frozen=True)
class IdentityMatch:
    """An identity that was found.

    Attributes:
        name: Name of the identity.
        score: Cosine in [-1, 1] of the probe and the identity; higher is more similar.

    Example:
        >>> IdentityMatch("ada", 0.71).name
        'ada'
    """

    name: str
    score: float


class TemplateIndex:
    """T templates in memory, as float32 rows of unit length with their lengths.

    Attributes:
        ids: (T,) int64, rising numbers of the templates.
        identities: (T,) int64, numbers of their identities.
    """

    def __init__(self, dim: int) -> None:
        self.ids = np.empty(0, np.int64)
        self.identities = np.empty(0, np.int64)
        self._lengths = np.empty(0, np.float32)
        self._memory = np.empty((0, dim), np.float32)  # rows to spare: most changes append
        self._groups: _Groups | None = None
        self._means: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> np.ndarray:
        """The templates, float32 (T, D) of unit length."""
        return self._memory[: len(self.ids)]

    def reserve(self, count: int) -> None:
        """Make room for `count` templates and some more, so that few changes copy all rows."""
        if count > len(self._memory):
            memory = np.empty((count + count // 8, self._memory.shape[1]), np.float32)
            memory[: len(self)] = self.rows
            self._memory = memory

    def append(self, ids: np.ndarray, identities: np.ndarray, embeddings: np.ndarray) -> None:
        """Add templates (N, D) whose ids are above all present ones."""
        start, stop = len(self), len(self) + len(ids)
        self.reserve(stop)
        self._memory[start:stop] = unit_rows(embeddings, "templates")
        lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1).astype(np.float32)
        self.ids = np.concatenate([self.ids, ids])
        self.identities = np.concatenate([self.identities, identities])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._forget_groups()

    def keep(self, ids: np.ndarray) -> None:
        """Drop all templates but those with these ids, and overwrite their rows."""
        kept = np.isin(self.ids, ids)
        rows = self.rows[kept]
        self._memory[: len(rows)] = rows
        self._memory[len(rows) : len(self)] = 0
        self.ids, self.identities = self.ids[kept], self.identities[kept]
        self._lengths = self._lengths[kept]
        self._forget_groups()

    def _forget_groups(self) -> None:
        self._groups = self._means = None

    def search(
        self, embeddings: np.ndarray, top: int, fusion: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each of N probes (N, D), the best identities (K,) and their scores (K,).

        K is `top`, or the number of identities if that is less. Of equal scores the identity that
        was enrolled first comes first.
        """
        check_choice(fusion, "fusion", FUSIONS)
        probes = unit_rows(embeddings, "embeddings")
        if not len(self):
            yield from [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(probes)
            return
        if self._groups is None:
            self._groups = _Groups(self.identities)
        groups = self._groups
        if fusion == "mean" and self._means is None:
            self._means = self._mean_rows(groups)
        rows = self.rows if fusion == "best" or self._means is None else self._means
        at_once = max(1, SCORES_AT_ONCE // max(1, len(rows)))
        for start in range(0, len(probes), at_once):
            scores = probes[start : start + at_once] @ rows.T
            if fusion == "best":
                scores = groups.best(scores)
            for of_probe in scores:
                chosen = _highest(of_probe, top)
                yield groups.identities[chosen], np.clip(of_probe[chosen], -1.0, 1.0)

    def _mean_rows(self, groups: "_Groups") -> np.ndarray:
        """The mean template of each identity at unit length, (I, D)."""
        means = np.empty((len(groups.identities), self._memory.shape[1]), np.float32)
        ends = np.append(groups.starts, len(self))
        for first in range(0, len(means), _MEANS_AT_ONCE):
            last = min(first + _MEANS_AT_ONCE, len(means))
            rows = groups.order[ends[first] : ends[last]]
            scaled = self.rows[rows] * self._lengths[rows, None].astype(np.float64)
            means[first:last] = np.add.reduceat(scaled, ends[first:last] - ends[first])
        # Opposite templates have no mean direction: their cosine with every probe is 0.
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 0)


class _Groups:
    """The templates of each identity: I identities, an order in which their templates adjoin."""

    def __init__(self, identities: np.ndarray) -> None:
        self.order = np.argsort(identities, kind="stable")
        self.identities, self.starts = np.unique(identities[self.order], return_index=True)
        self._is_sorted = bool(np.all(self.order[1:] > self.order[:-1]))

    def best(self, scores: np.ndarray) -> np.ndarray:
        """The highest score (N, I) of each identity, of scores (N, T) of the templates."""
        if not self._is_sorted:
            scores = scores[:, self.order]
        if len(self.identities) == scores.shape[1]:
            return scores
        return np.maximum.reduceat(scores, self.starts, axis=1)


def _highest(scores: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` highest scores (I,), the highest first; of ties the first."""
    if count < len(scores):
        # All that reach the last place: a partition alone would take any of equal ones.
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:count]
