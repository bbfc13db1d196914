"""What an index of templates is to a gallery: a proposal of which templates are near a probe."""

import abc
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class IndexReport:
    """An index that was built, and what it finds.

    Attributes:
        kind: What it is, for example "FAISS HNSW".
        num_templates: Number of templates in it.
        seconds: Time that building took.
        recall: Share, 0 to 1, of sampled templates whose most similar other template belongs to an
            identity that the index proposes.
        num_probes: Number of sampled templates.

    Example:
        >>> print(IndexReport("FAISS HNSW", 120_000, 61.0, 0.995, 200).describe())
        FAISS HNSW index of 120,000 templates, built in 61.0 s; recall at 1: 0.995 of 200 sampled
        templates
    """

    kind: str
    num_templates: int
    seconds: float
    recall: float
    num_probes: int

    def describe(self) -> str:
        """Return the report as a sentence."""
        return (
            f"{self.kind} index of {self.num_templates:,} templates, built in {self.seconds:.1f} "
            f"s; recall at 1: {self.recall:.3f} of {self.num_probes} sampled templates"
        )


class NearestIndex(abc.ABC):
    """An index of templates.

    Attributes:
        last: The highest number that it knows; later templates are compared one by one. None: it
            follows every change.
    """

    last: int | None = None

    @abc.abstractmethod
    def nearest(self, probe: np.ndarray, count: int) -> list[int]:
        """Return numbers of about the `count` templates most similar to a unit row (D,).

        The most similar first; fewer than `count` only if there are no more.
        """
