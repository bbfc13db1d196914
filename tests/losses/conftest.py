"""Embeddings and labels for the losses of heads."""

import numpy as np
import pytest

NUM_CLASSES, SIZE = 5, 6


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, 64)
    embeddings = rng.normal(size=(64, SIZE)) + 2 * np.eye(NUM_CLASSES, SIZE)[labels]
    return embeddings.astype(np.float32), labels
