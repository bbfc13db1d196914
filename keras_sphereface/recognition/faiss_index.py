"""An index of a gallery's templates in a file beside it, by FAISS, which is imported on first use.

A graph (HNSW) whose nodes are templates with 8 bits a number: a quarter of the memory of float32,
and the few that it proposes are compared with their float32 templates anyway. An inverted file
(IVF) of the same codes is built in half the time, but must scan a fifth of all templates where the
graph visits some hundred of them, for the same recall.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.recognition.gallery_store import GalleryStore
from keras_sphereface.recognition.nearest_index import NearestIndex
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import progress_bar

KIND = "FAISS HNSW"
NEIGHBORS, BUILD_BREADTH, SEARCH_BREADTH = 32, 40, 256  # of a node; candidates held at once
RANGE_SAMPLE = 20_000  # templates from which the range of each number is taken


def import_faiss() -> Any:
    """Return the module of FAISS.

    Raises:
        ImportError: Without it.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ImportError(
            "An index of a gallery needs FAISS: pip install 'keras-sphereface[faiss]'; without it "
            f"every template is compared. Received: {error}"
        ) from error


class FaissIndex(NearestIndex):
    """An index in memory.

    Args:
        index: `faiss.IndexIDMap` of an `IndexHNSWSQ`.
    """

    def __init__(self, index: Any) -> None:
        faiss = import_faiss()
        self._index = index
        self._graph = faiss.downcast_index(index.index)
        self.numbers: np.ndarray = faiss.vector_to_array(index.id_map)
        self.last: int = int(self.numbers[-1])

    @classmethod
    def build(cls, store: GalleryStore) -> "FaissIndex":
        """Index all templates of a store; within `snapshot`."""
        faiss = import_faiss()
        numbers = store.template_numbers()
        chosen = np.random.default_rng(0).permutation(numbers)[:RANGE_SAMPLE]
        _, _, sample = store.templates_by_number(chosen.tolist())
        graph = faiss.index_factory(
            sample.shape[1], f"HNSW{NEIGHBORS}_SQ8", faiss.METRIC_INNER_PRODUCT
        )
        graph.hnsw.efConstruction = BUILD_BREADTH
        graph.train(unit_rows(sample, "templates"))
        index = faiss.IndexIDMap(graph)
        with progress_bar(total=len(numbers), desc="index", unit="template") as bar:
            for block, _, embeddings in store.templates_after(0):
                index.add_with_ids(unit_rows(embeddings, "templates"), block)
                bar.update(len(block))
        return cls(index)

    @classmethod
    def read(cls, path: Path) -> "FaissIndex":
        """Read the file that `write` wrote."""
        faiss = import_faiss()
        return cls(faiss.read_index(str(path)))

    def write(self, path: Path) -> None:
        """Write a file that the user alone may read; it appears whole or not at all."""
        faiss = import_faiss()
        with atomic_file(path) as partial:
            partial.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
            faiss.write_index(self._index, str(partial))

    def nearest(self, probe: np.ndarray, count: int) -> list[int]:
        """Return numbers of about the `count` templates most similar to a unit row (D,)."""
        faiss = import_faiss()
        count = min(count, len(self.numbers))
        settings = faiss.SearchParametersHNSW()
        settings.efSearch = max(SEARCH_BREADTH, count)
        _, places = self._graph.search(probe[None], count, params=settings)
        return self.numbers[places[0][places[0] >= 0]].tolist()

    def erase(self, kept: np.ndarray) -> None:
        """Overwrite the codes of all templates but those with these numbers.

        The nodes stay, as ways to others; each gets the code of a neighbor that is kept.
        """
        faiss = import_faiss()
        is_kept = np.isin(self.numbers, kept)
        storage = faiss.downcast_index(self._graph.storage)
        size = storage.code_size
        codes = faiss.rev_swig_ptr(storage.codes.data(), len(is_kept) * size).reshape(-1, size)
        neighbors = faiss.vector_to_array(self._graph.hnsw.neighbors)
        offsets = faiss.vector_to_array(self._graph.hnsw.offsets)
        for place in np.flatnonzero(~is_kept):
            first = int(offsets[place])
            near = neighbors[first : first + self._graph.hnsw.nb_neighbors(0)]
            near = near[near >= 0]
            near = near[is_kept[near]]
            codes[place] = codes[near[0]] if len(near) else 0
