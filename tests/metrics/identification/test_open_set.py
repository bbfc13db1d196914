import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sphereface.metrics.identification import SearchResult, dir_at_far, dir_curve


def dir_by_loops(result, far, rank):
    """Try every threshold."""
    mated = [(s, r) for s, r in zip(result.mate_scores, result.ranks, strict=True) if r > 0]
    alarms = [t for t, r in zip(result.top_nonmate_scores, result.ranks, strict=True) if r == 0]
    if 1 / len(alarms) > far:
        return None
    best = 0.0
    for threshold in [s for s, _ in mated] + alarms:
        if sum(alarm >= threshold for alarm in alarms) / len(alarms) <= far:
            hits = sum(s >= threshold and (rank is None or r <= rank) for s, r in mated)
            best = max(best, hits / len(mated))
    return best


SEARCHES = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=14
).filter(lambda result: 0 < sum(rank > 0 for _, rank, _ in result) < len(result))


@given(SEARCHES, st.sampled_from([0.01, 0.2, 0.25, 1 / 3, 0.5, 1.0]), st.sampled_from([1, 2, None]))
def test_dir_at_far_is_the_best_of_all_thresholds(probes, far, rank):
    result = SearchResult(*map(np.array, zip(*probes, strict=True)))
    assert dir_at_far(result, far, rank) == dir_by_loops(result, far, rank)


def test_dir_curve_of_a_small_case():
    result = SearchResult(
        mate_scores=np.array([0.9, 0.5, 0.7, -np.inf, -np.inf]),
        ranks=np.array([1, 1, 2, 0, 0]),
        top_nonmate_scores=np.array([0.1, 0.4, 0.8, 0.6, 0.2]),
    )
    curve = dir_curve(result)
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 0.9, 0.6, 0.5, 0.2])
    np.testing.assert_allclose(curve.far, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.dir, [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert dir_at_far(result, 0.5) == pytest.approx(2 / 3)
    assert dir_at_far(result, 0.5, rank=2) == 1.0
    assert dir_at_far(result, 0.49) is None


@pytest.mark.parametrize(
    ("ranks", "far", "rank", "message"),
    [
        ([1, 2], 0.1, 1, "mated and non-mated probes. Received: 2 mated and 0 non-mated"),
        ([0, 0], 0.1, 1, "Received: 0 mated and 2 non-mated"),
        ([1, 0], 0.0, 1, r"must be in \(0, 1\]. Received: 0.0"),
        ([1, 0], 0.1, 0, "`rank` must be >= 1. Received: rank=0"),
    ],
)
def test_open_set_measures_need_mated_and_non_mated_probes(ranks, far, rank, message):
    result = SearchResult(np.ones(2), np.array(ranks), np.ones(2))
    with pytest.raises(ValueError, match=message):
        dir_at_far(result, far, rank)
