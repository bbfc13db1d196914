"""Search of a gallery in PostgreSQL: the server finds identities, and they are scored here."""

from collections.abc import Iterator

import numpy as np

from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.recognition.gallery_store import GalleryStore
from keras_sphereface.recognition.index_search import score_identities
from keras_sphereface.recognition.template_index import FUSIONS
from keras_sphereface.utils.validation import check_choice

# The distance of an identity from the probe: of its nearest template, or of their mean. Opposite
# templates have no mean direction; their distance is that of the cosine 0.
DISTANCES = {
    "best": "MIN(embedding <=> ?)",
    "mean": "COALESCE(NULLIF(AVG(embedding) <=> ?, 'NaN'), 1)",
}


class DatabaseSearch:
    """Searches in the server: no template is kept in memory here.

    Args:
        store: The open store.
    """

    def __init__(self, store: GalleryStore) -> None:
        self._store = store

    @property
    def num_compared(self) -> int:
        """The number of templates that are compared here: none but those of found identities."""
        return 0

    def forget(self) -> None:
        """Nothing is kept from one search to the next."""

    def search(
        self, embeddings: np.ndarray, top: int, fusion: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each of N probes (N, D), the best identities (K,) and their scores (K,).

        Within `snapshot` or `transaction` of the store; see `TemplateIndex.search`.
        """
        check_choice(fusion, "fusion", FUSIONS)
        for probe in unit_rows(embeddings, "embeddings"):
            nearest = self._store.run(
                f"SELECT identity FROM templates GROUP BY identity ORDER BY {DISTANCES[fusion]}, "
                "identity LIMIT ?",
                probe,
                top,
            )
            yield score_identities(self._store, [row[0] for row in nearest], probe, top, fusion)
