"""Closed-set identification: every probe has a mate in the gallery."""

import dataclasses

from keras_sphereface.evaluation.identification.gallery_search import GalleryMetrics, GallerySearch
from keras_sphereface.evaluation.identification.intervals import probe_intervals
from keras_sphereface.evaluation.identification.result import IdentificationResult
from keras_sphereface.metrics.identification import cmc


@dataclasses.dataclass(frozen=True)
class ClosedSetMetrics(GalleryMetrics):
    """Numbers of closed-set identification; rates are in [0, 1].

    Attributes:
        rank_1: Share of probes whose mate is the most similar identity.
        rank_5: Share of probes whose mate is among the 5 most similar identities.
        rank_10: Share of probes whose mate is among the 10 most similar identities.
        cmc: The same shares at the ranks 1, 2, ... up to `max_rank`.

    Example:
        >>> metrics = ClosedSetMetrics("casia", {}, (), 4, 2, 2, 0.5, 1.0, 1.0, (0.5, 1.0))
        >>> metrics.measures()
        {'rank 1': 0.5, 'rank 5': 1.0, 'rank 10': 1.0}
    """

    rank_1: float
    rank_5: float
    rank_10: float
    cmc: tuple[float, ...]

    def measures(self) -> dict[str, float | None]:
        """Return {name: rate} for tables, failures counted as not found where there are any."""
        rates = {"rank 1": self.rank_1, "rank 5": self.rank_5, "rank 10": self.rank_10}
        counted = {
            f"{name}, failures counted": self.rate_with_failures(rate, self.num_probes)
            for name, rate in rates.items()
            if self.num_mated_failures
        }
        return {**rates, **counted}


def measure_closed_set(
    searched: GallerySearch, max_rank: int, replicates: int = 0, seed: int = 0
) -> IdentificationResult:
    """Measure the ranks of the mates.

    Args:
        searched: A search all of whose probes are mated.
        max_rank: Int. Last rank of the CMC curve.
        replicates: Int. Draws of identities for the intervals; 0 computes none.
        seed: Int. Seed of the draws.
    """
    rates = cmc(searched.result.ranks, max(max_rank, 10))
    intervals = probe_intervals(
        searched.result,
        searched.probes.identities,
        {f"rank {k}": k for k in (1, 5, 10)},
        {},
        replicates,
        seed,
    )
    metrics = ClosedSetMetrics(
        **{**vars(searched.metrics), "intervals": intervals},
        rank_1=float(rates[0]),
        rank_5=float(rates[4]),
        rank_10=float(rates[9]),
        cmc=tuple(rates[:max_rank].tolist()),
    )
    return IdentificationResult(
        metrics, rates[:max_rank], searched.probe_table(), searched.nearest_faces
    )
