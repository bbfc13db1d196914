"""A batch for the functions under the heads."""

import numpy as np
import pytest
import tensorflow as tf

B, D, C = 9, 5, 13


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return {
        "rows": tf.constant(3 * rng.normal(size=(B, D))),
        "kernel": tf.constant(rng.normal(size=(D, C))),
        "bias": tf.constant(rng.normal(size=C)),
        # Class 3 three times, class 12 (the last) once, most classes not at all.
        "labels": tf.constant([3, 3, 12, 0, 7, 3, 8, 0, 5]),
        "by_target": tf.constant(rng.normal(size=B)),
        "by_negatives": tf.constant(rng.normal(size=B)),
    }
