"""Search of a gallery's templates in memory, which follows what any process confirms."""

from collections.abc import Iterator

import numpy as np

from keras_sphereface.recognition.gallery_store import GalleryStore
from keras_sphereface.recognition.template_index import TemplateIndex


class MemorySearch:
    """All templates of a store in memory; only what has changed is read anew.

    Args:
        store: The open store.
        after: Number above which those of all templates are that are searched.
    """

    def __init__(self, store: GalleryStore, after: int = 0) -> None:
        self._store, self._after = store, after
        self.forget()

    @property
    def num_compared(self) -> int:
        """The number of templates that the last search compared."""
        return 0 if self._index is None else len(self._index)

    def forget(self) -> None:
        """Read everything anew before the next search."""
        self._index: TemplateIndex | None = None
        self._version = -1

    def search(
        self, embeddings: np.ndarray, top: int, fusion: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each of N probes (N, D), the best identities (K,) and their scores (K,).

        Within `snapshot` or `transaction` of the store; see `TemplateIndex.search`.
        """
        return self._refreshed(embeddings.shape[1]).search(embeddings, top, fusion)

    def _refreshed(self, dim: int) -> TemplateIndex:
        """The index with what is in the store now."""
        version = self._store.get_meta("version")
        index = self._index or TemplateIndex(dim)
        if version != self._version:
            index.reserve(self._store.num_templates(self._after))
            last = int(index.ids[-1]) if len(index) else self._after
            if self._store.num_templates(self._after, last) != len(index):
                index.keep(self._store.template_numbers(self._after, last))
            for block in self._store.templates_after(last):
                index.append(*block)
        self._index, self._version = index, version
        return index
