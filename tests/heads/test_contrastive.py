"""`SoftmaxContrastive` against loops in float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.heads import SoftmaxContrastive
from tests.helpers.batch_heads import (
    LABELS,
    C,
    built,
    clustered_embeddings,
    losses_of,
    softmax_losses,
    unit,
)


@pytest.fixture
def embeddings():
    return clustered_embeddings()


def test_contrastive_term_is_the_mean_over_both_kinds_of_pairs(embeddings):
    head = built(SoftmaxContrastive(C, m=1.2, term_weight=0.7))
    rows, mated, non_mated = unit(embeddings.astype(np.float64)), [], []
    for i, j in itertools.combinations(range(len(rows)), 2):
        distance = np.linalg.norm(rows[i] - rows[j])
        if LABELS[i] == LABELS[j]:
            mated.append(distance**2)
        else:
            non_mated.append(max(1.2 - distance, 0.0) ** 2)
    expected = 0.7 * (np.mean(mated) + np.mean(non_mated)) / 2
    added = losses_of(head, embeddings).losses.numpy() - softmax_losses(head, embeddings)
    np.testing.assert_allclose(added, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "labels", [np.arange(6), np.zeros(6, int)], ids=["no pair", "one identity"]
)
def test_contrastive_term_of_a_kind_of_pairs_that_is_absent_is_zero(embeddings, labels):
    head = built(SoftmaxContrastive(C))
    loss = head.pair_loss(tf.constant(embeddings[:6]), tf.constant(labels))
    rows = unit(embeddings[:6].astype(np.float64))
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(rows, 2)]
    if len(set(labels)) > 1:
        expected = np.mean([max(1.0 - d, 0.0) ** 2 for d in distances]) / 2
    else:
        expected = np.mean(np.square(distances)) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
