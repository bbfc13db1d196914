import numpy as np
import pytest

from keras_sphereface.metrics.identification import cmc, rank_k, search_gallery
from tests.helpers.identification_data import (
    LABELS,
    ROWS,
)


def test_cmc_of_a_small_case():
    ranks = np.array([3, 1, 1, 7])
    np.testing.assert_array_equal(cmc(ranks, 4), [0.5, 0.5, 0.75, 0.75])
    assert rank_k(ranks, 3) == 0.75
    assert rank_k(ranks, 7) == 1.0


def test_closed_set_measures_refuse_probes_without_a_mate():
    result = search_gallery(ROWS[:4], LABELS[:4], ROWS, LABELS)
    with pytest.raises(ValueError, match="none for 2 of 6 probes, the first at 4"):
        cmc(result.ranks, 1)
    with pytest.raises(ValueError, match=r"`ranks` must be \(P,\), P >= 1. .*\(0,\)"):
        cmc([], 1)
    with pytest.raises(ValueError, match=r"`max_rank` must be >= 1. Received: max_rank=0"):
        cmc(result.ranks[:4], 0)
