import numpy as np
import pytest

from keras_sphereface.metrics import vectors

ROWS = np.random.default_rng(0).integers(-3, 4, size=(20, 4)) + 0.5


def test_rows_come_to_unit_length_and_zero_stays():
    rows = np.array([[3.0, 4], [0, 0], [0, -1e-30]])
    np.testing.assert_allclose(
        vectors.normalize_rows(rows), [[0.6, 0.8], [0, 0], [0, -1]], atol=1e-15
    )


@pytest.mark.parametrize("factor", [1e-30, 1e-18, 1e18, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_length_does_not_matter_however_small_or_large(factor, dtype):
    rows = (ROWS * factor).astype(dtype)
    units = vectors.unit_rows(rows, "rows")
    assert units.dtype == np.float32
    expected = ROWS / np.linalg.norm(ROWS, axis=1)[:, None]
    np.testing.assert_allclose(units, expected, rtol=1e-6)
    np.testing.assert_array_equal(rows, (ROWS * factor).astype(dtype))


@pytest.mark.parametrize("block", [1, 3, 7, 256])
def test_pairs_of_rows_are_compared_block_by_block(block, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", block)
    pairs = np.random.default_rng(1).integers(20, size=(7, 2))
    products = [sum(ROWS[a] * ROWS[b]) for a, b in pairs]
    squares = [sum((ROWS[a] - ROWS[b]) ** 2) for a, b in pairs]
    np.testing.assert_allclose(vectors.pair_products(ROWS, pairs), products)
    np.testing.assert_allclose(vectors.pair_squared_distances(ROWS, pairs), squares)
