"""Open-set identification: some probes have no mate in the gallery, and should raise no alarm."""

import dataclasses

import numpy as np

from keras_sphereface.metrics.identification import inputs
from keras_sphereface.metrics.identification.search import SearchResult


@dataclasses.dataclass(frozen=True)
class DirCurve:
    """Open-set identification at every threshold; point i is the decision score >= thresholds[i].

    Attributes:
        far: (K,) false alarm rate (FPIR), rising from 0 to 1.
        dir: (K,) detection and identification rate (TPIR), rising from 0.
        thresholds: (K,) cosines, falling from infinity.

    Example:
        >>> result = SearchResult(np.array([0.8, -np.inf]), np.array([1, 0]), np.array([0.1, 0.5]))
        >>> curve = dir_curve(result)
        >>> curve.far.tolist(), curve.dir.tolist(), curve.thresholds.tolist()
        ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [inf, 0.8, 0.5])
    """

    far: np.ndarray
    dir: np.ndarray
    thresholds: np.ndarray


def dir_curve(result: SearchResult, rank: int | None = 1) -> DirCurve:
    """Return the rates of open-set identification at every threshold.

    A mated probe is detected and identified if its mate's score reaches the threshold and its rank
    is at most `rank` (None: any rank). A non-mated probe is a false alarm if the score of any
    identity reaches the threshold.

    FPIR is the false alarm rate. TPIR = 1 - FNIR with a list of L candidates, as for IJB and in
    NIST's FRVT, is the detection and identification rate with `rank` = L.

    Raises:
        ValueError: if all probes are mated or none is, or `rank` < 1.

    References: Phillips, Grother and Micheals, "Evaluation Methods in Face Recognition",
    Handbook of Face Recognition; Grother and Ngan, "Face Recognition Vendor Test", NIST; Klare
    et al., "IARPA Janus Benchmark A", CVPR 2015; Whitelam et al., "IARPA Janus Benchmark-B",
    CVPRW 2017.

    Example:
        >>> from keras_sphereface.metrics.identification import search_gallery
        >>> result = search_gallery(np.eye(3)[:1], ["ann"], np.eye(3)[:2], ["ann", "bob"])
        >>> dir_curve(result).dir
        array([0., 1., 1.])
    """
    if rank is not None:
        inputs.check_at_least_one(rank, "rank")
    is_mated = result.ranks > 0
    if is_mated.all() or not is_mated.any():
        raise ValueError(
            "Open-set identification needs mated and non-mated probes. "
            f"Received: {np.sum(is_mated)} mated and {np.sum(~is_mated)} non-mated"
        )
    is_ranked = is_mated if rank is None else is_mated & (result.ranks <= rank)
    hits = np.sort(result.mate_scores[is_ranked])
    alarms = np.sort(result.top_nonmate_scores[~is_mated])
    thresholds = np.append(np.inf, np.unique(np.concatenate([hits, alarms]))[::-1])
    far = (len(alarms) - np.searchsorted(alarms, thresholds)) / len(alarms)
    dir_ = (len(hits) - np.searchsorted(hits, thresholds)) / np.sum(is_mated)
    return DirCurve(far, dir_, thresholds)


def dir_at_far(result: SearchResult, far: float, rank: int | None = 1) -> float | None:
    """Return the highest detection and identification rate with a false alarm rate <= `far`.

    With `rank` = L it is TPIR at FPIR with L candidates; see `dir_curve`.

    Returns:
        The rate, 0 to 1; None if there are too few non-mated probes to allow one false alarm.

    Raises:
        ValueError: as `dir_curve`, or if `far` is not in (0, 1].

    Example:
        >>> from keras_sphereface.metrics.identification import search_gallery
        >>> result = search_gallery(np.eye(3)[:1], ["ann"], np.eye(3)[:2], ["ann", "bob"])
        >>> dir_at_far(result, far=1.0), dir_at_far(result, far=0.01)
        (1.0, None)
    """
    inputs.check_rate(far)
    curve = dir_curve(result, rank)
    if not inputs.max_errors(far, int(np.sum(result.ranks == 0))):
        return None
    return float(curve.dir[curve.far <= far].max())
