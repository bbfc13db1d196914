"""Search by an index: it proposes templates near a probe, and their identities are scored exactly.

What an index may miss is an identity; the scores of those it proposes are those of an exact search.
"""

from collections.abc import Iterator

import numpy as np

from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.recognition.gallery_store import GalleryStore
from keras_sphereface.recognition.memory_search import MemorySearch
from keras_sphereface.recognition.nearest_index import NearestIndex
from keras_sphereface.recognition.template_index import FUSIONS, TemplateIndex
from keras_sphereface.utils.progress import progress_bar
from keras_sphereface.utils.validation import check_choice

# Templates that are proposed: many enough that the nearest one is among them although the index
# knows templates with 8 bits a number, or sees the nearest template where the mean is asked for.
LEAST_PROPOSED, PROPOSED_PER_MATCH = 64, 8
# Identities of which all templates are compared, beyond twice those asked for: the proposal has
# them in the order of their nearest templates, but for the error of 8 bits. Means may have another.
SPARE_IDENTITIES = {"best": 6, "mean": LEAST_PROPOSED}


class IndexSearch:
    """Search by an index of a store.

    Args:
        store: The open store.
        index: Its index.
    """

    def __init__(self, store: GalleryStore, index: NearestIndex) -> None:
        self._store, self._index = store, index
        self._tail = None if index.last is None else MemorySearch(store, after=index.last)

    @property
    def num_compared(self) -> int:
        """The number of templates that the index does not know, and that are compared."""
        return 0 if self._tail is None else self._tail.num_compared

    def forget(self) -> None:
        """Read everything anew that the index does not know."""
        if self._tail is not None:
            self._tail.forget()

    def search(
        self, embeddings: np.ndarray, top: int, fusion: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each of N probes (N, D), the best identities (K,) and their scores (K,).

        Within `snapshot` or `transaction` of the store; see `TemplateIndex.search`.
        """
        check_choice(fusion, "fusion", FUSIONS)
        for probe in unit_rows(embeddings, "embeddings"):
            identities = set(self._proposed(probe, top)[: 2 * top + SPARE_IDENTITIES[fusion]])
            if self._tail is not None:
                newest, _ = next(self._tail.search(probe[None], top, fusion))
                identities |= set(newest.tolist())
            yield score_identities(self._store, sorted(identities), probe, top, fusion)

    def _proposed(self, probe: np.ndarray, top: int) -> list[int]:
        """At least `top` identities, if there are so many, that of the nearest template first."""
        count = max(LEAST_PROPOSED, PROPOSED_PER_MATCH * top)
        while True:
            numbers = self._index.nearest(probe, count)
            identity_of = self._store.identities_of(numbers)
            # Templates that were removed meanwhile are in the index still.
            identities = list(
                dict.fromkeys(identity_of[number] for number in numbers if number in identity_of)
            )
            if len(identities) >= top or len(numbers) < count:
                return identities
            count *= 4


def score_identities(
    store: GalleryStore, identities: list[int], probe: np.ndarray, top: int, fusion: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best (K,) of some identities for a probe (D,), and their scores (K,).

    All templates of each are read and compared, as an exact search in memory does it.
    """
    index = TemplateIndex(len(probe))
    for block in store.templates_of(identities):
        index.append(*block)
    return next(index.search(probe[None], top, fusion))


def measure_recall(
    store: GalleryStore, index: NearestIndex, num_probes: int, seed: int = 0
) -> tuple[float, int]:
    """Return the recall at 1 of an index as `IndexReport` has it, and the number of probes.

    Each probe is a template that is left out: its most similar other template, of all in the store,
    is what the index should find. All templates are read once; within `snapshot` of the store.
    """
    numbers = store.template_numbers()
    sampled = np.random.default_rng(seed).choice(
        numbers, min(num_probes, len(numbers)), replace=False
    )
    own, _, probes = store.templates_by_number(sampled.tolist())
    probes = unit_rows(probes, "templates")
    best, best_identity = np.full(len(own), -np.inf, np.float32), np.zeros(len(own), np.int64)
    with progress_bar(total=len(numbers), desc="recall", unit="template") as bar:
        for block, identities, embeddings in store.templates_after(0):
            scores = probes @ unit_rows(embeddings, "templates").T
            scores[own[:, None] == block[None]] = -np.inf
            places = scores.argmax(axis=1)
            highest = scores[np.arange(len(own)), places]
            is_better = highest > best
            best[is_better] = highest[is_better]
            best_identity[is_better] = identities[places[is_better]]
            bar.update(len(block))
    num_found = 0
    for number, probe, identity in zip(own.tolist(), probes, best_identity, strict=True):
        proposed = store.identities_of(index.nearest(probe, LEAST_PROPOSED))
        proposed.pop(number, None)
        num_found += int(identity) in proposed.values()
    return num_found / max(1, len(own)), len(own)
