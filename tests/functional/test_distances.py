import math

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.functional.distances import DISTANCES, pairwise_distances


def distance_by_definition(a, b, metric):
    if metric == "angular":
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return squared if metric == "squared-L2" else math.sqrt(squared)


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(20, 8))


@pytest.mark.parametrize("metric", DISTANCES)
def test_pairwise_distances_are_those_of_the_definition(embeddings, metric):
    distances = pairwise_distances(embeddings, metric)
    assert distances.dtype == tf.float64
    expected = [[distance_by_definition(a, b, metric) for b in embeddings] for a in embeddings]
    np.testing.assert_allclose(distances, expected, atol=1e-12)


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (1.0, 2.0, -0.3)])
def test_distances_of_equal_embeddings_have_finite_gradients(metric, vector):
    embeddings = tf.constant([vector] * 3)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        distances = pairwise_distances(embeddings, metric)
    np.testing.assert_allclose(tape.gradient(distances, embeddings), np.zeros((3, 3)), atol=1e-6)


def test_an_embedding_has_distance_0_from_itself_whatever_the_rounding(embeddings):
    assert not np.diag(pairwise_distances((1000 + 1e4 * embeddings).astype(np.float32))).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(embeddings, dtype):
    assert pairwise_distances(tf.cast(embeddings, dtype)).dtype == tf.float32


def test_a_distance_of_another_name_is_refused(embeddings):
    with pytest.raises(ValueError, match="Received: distance_metric='l2'"):
        pairwise_distances(embeddings, "l2")
