"""Open-set identification: some probes have no mate in the gallery."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from keras_sphereface.evaluation.identification.gallery_search import GalleryMetrics, GallerySearch
from keras_sphereface.evaluation.identification.intervals import probe_intervals
from keras_sphereface.evaluation.identification.result import IdentificationResult
from keras_sphereface.evaluation.verification import values_by_far
from keras_sphereface.metrics import roc
from keras_sphereface.metrics.identification import dir_at_far, dir_curve, rank_k
from keras_sphereface.metrics.vectors import unit_rows
from keras_sphereface.utils.progress import stage

FALSE_ALARM_RATES = (0.1, 0.01, 0.001)
MAX_COMPARISONS = 20_000_000  # scores that are sorted in memory: probes x entries of the gallery


@dataclasses.dataclass(frozen=True)
class GalleryVerification:
    """Every probe verified against every entry of the gallery; rates are in [0, 1].

    Attributes:
        num_matched: Comparisons of one identity.
        num_mismatched: Comparisons of two identities.
        auc: Area under the ROC curve.
        eer: Equal error rate.
        tar_at_far: {false accept rate: true accept rate}; None where too few mismatched
            comparisons can measure the rate.
        threshold_at_far: {false accept rate: cosine}; None likewise.
    """

    num_matched: int
    num_mismatched: int
    auc: float
    eer: float
    tar_at_far: Mapping[str, float | None]
    threshold_at_far: Mapping[str, float | None]


@dataclasses.dataclass(frozen=True)
class OpenSetMetrics(GalleryMetrics):
    """Numbers of open-set identification; rates are in [0, 1].

    Attributes:
        num_mated: Probes whose identity is in the gallery.
        num_nonmated: Probes of unknown identities.
        rank_1: Share of mated probes whose mate is the most similar identity.
        dir_at_far: {false alarm rate: detection and identification rate}: share of mated probes
            whose mate is first and reaches the threshold; None where too few probes are non-mated.
        fnir_at_fpir: {FPIR: FNIR}: false negative identification rate, 1 - `dir_at_far`, with the
            mated probes that failed counted as not found (ISO/IEC 19795-1).
        candidates: Length of the candidate list of `tpir_at_fpir`.
        tpir_at_fpir: {FPIR: TPIR}, as `dir_at_far` with the mate anywhere in the candidate list.
        verification: All probes against all entries; None if the comparisons are too many.

    Example:
        >>> metrics = OpenSetMetrics("casia", {}, (), num_probes=9, num_gallery_identities=2,
        ...     num_gallery_entries=2, num_mated=5, num_nonmated=4, rank_1=0.8, candidates=20,
        ...     dir_at_far={"0.1": None}, fnir_at_fpir={"0.1": None}, tpir_at_fpir={"0.1": None},
        ...     verification=None)
        >>> metrics.sizes
        '9 probes, a gallery of 2 identities with 2 images; 4 of the probes are of unknown ...'
    """

    num_mated: int
    num_nonmated: int
    rank_1: float
    dir_at_far: Mapping[str, float | None]
    fnir_at_fpir: Mapping[str, float | None]
    candidates: int
    tpir_at_fpir: Mapping[str, float | None]
    verification: GalleryVerification | None

    @property
    def sizes(self) -> str:
        """The numbers of probes, identities and images of the gallery, in words."""
        return f"{super().sizes}; {self.num_nonmated:,} of the probes are of unknown identities"

    def measures(self) -> dict[str, float | None]:
        """Return {name: rate} for tables; None where too few probes are non-mated."""
        return {
            "rank 1 of mated probes": self.rank_1,
            **{f"DIR at FAR {far}": rate for far, rate in self.dir_at_far.items()},
            **{f"FNIR at FPIR {far}": rate for far, rate in self.fnir_at_fpir.items()},
            **{
                f"TPIR at FPIR {far}, {self.candidates} candidates": rate
                for far, rate in self.tpir_at_fpir.items()
            },
        }


def measure_open_set(
    searched: GallerySearch, candidates: int, replicates: int = 0, seed: int = 0
) -> IdentificationResult:
    """Measure how many mated probes are identified at which rates of false alarms.

    Args:
        searched: A search with mated and non-mated probes.
        candidates: Int. Length of the candidate list of TPIR.
        replicates: Int. Draws of identities for the intervals; 0 computes none.
        seed: Int. Seed of the draws.
    """
    result = searched.result
    mated = result.ranks[result.ranks > 0]
    with stage("verifying probes against the gallery"):
        verification = _verify_all(searched)
    dirs = _by_rate(lambda far: dir_at_far(result, far))
    found = functools.partial(searched.metrics.rate_with_failures, num_mated=len(mated))
    measured = [far for far in FALSE_ALARM_RATES if dirs[f"{far:g}"] is not None]
    intervals = probe_intervals(
        result,
        searched.probes.identities,
        {"rank 1 of mated probes": 1},
        {
            **{f"DIR at FAR {far:g}": (far, 1) for far in measured},
            **{
                f"TPIR at FPIR {far:g}, {candidates} candidates": (far, candidates)
                for far in measured
            },
        },
        replicates,
        seed,
    )
    metrics = OpenSetMetrics(
        **{**vars(searched.metrics), "intervals": intervals},
        num_mated=len(mated),
        num_nonmated=int(np.sum(result.ranks == 0)),
        rank_1=rank_k(mated, 1),
        dir_at_far=dirs,
        fnir_at_fpir={far: None if rate is None else 1 - found(rate) for far, rate in dirs.items()},
        candidates=candidates,
        tpir_at_fpir=_by_rate(lambda far: dir_at_far(result, far, candidates)),
        verification=verification,
    )
    curve = dir_curve(result)
    return IdentificationResult(
        metrics, (curve.far, curve.dir), searched.probe_table(), searched.nearest_faces
    )


def _by_rate(measure: Callable[[float], float | None]) -> dict[str, float | None]:
    return {f"{far:g}": measure(far) for far in FALSE_ALARM_RATES}


def _verify_all(searched: GallerySearch) -> GalleryVerification | None:
    entries, probes = searched.entries, searched.probes
    if len(probes.keys) * len(entries.keys) > MAX_COMPARISONS:
        return None
    scores = unit_rows(probes.embeddings, "probes") @ unit_rows(entries.embeddings, "gallery").T
    is_same = probes.identities[:, None] == entries.identities
    curve = roc.roc_curve(scores.ravel(), is_same.ravel())
    num_mismatched = int(np.sum(~is_same))
    return GalleryVerification(
        num_matched=int(is_same.sum()),
        num_mismatched=num_mismatched,
        auc=roc.auc_score(curve),
        eer=roc.equal_error_rate(curve),
        tar_at_far=values_by_far(functools.partial(roc.tar_at_far, curve), num_mismatched),
        threshold_at_far=values_by_far(
            functools.partial(roc.threshold_at_far, curve), num_mismatched
        ),
    )
