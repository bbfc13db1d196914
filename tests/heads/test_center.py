"""`SoftmaxCenter` against loops in float64."""

import numpy as np
import pytest

from keras_sphereface.heads import SoftmaxCenter
from tests.helpers.batch_heads import (
    LABELS,
    C,
    D,
    built,
    clustered_embeddings,
    losses_of,
    softmax_losses,
)


@pytest.fixture
def embeddings():
    return clustered_embeddings()


def test_center_term_and_centers_follow_the_paper(embeddings):
    head = built(SoftmaxCenter(C, term_weight=0.3, center_rate=0.4))
    centers = np.zeros((C, D))
    for step in range(3):
        rows = embeddings.astype(np.float64) * (step + 1)
        expected = [0.15 * np.sum((x - centers[c]) ** 2) for x, c in zip(rows, LABELS, strict=True)]
        added = losses_of(head, embeddings * (step + 1)).losses.numpy()
        added -= softmax_losses(head, embeddings * (step + 1))
        np.testing.assert_allclose(added, expected, rtol=1e-3, atol=1e-4)
        for identity in range(C):
            images = rows[identity == LABELS]
            centers[identity] += (
                0.4 * np.sum(images - centers[identity], axis=0) / (1 + len(images))
            )
        np.testing.assert_allclose(head.centers.numpy(), centers, rtol=1e-5, atol=1e-6)


def test_centers_stay_outside_of_training_and_learn_no_gradient(embeddings):
    head = built(SoftmaxCenter(C))
    losses_of(head, embeddings, training=False)
    np.testing.assert_array_equal(head.centers.numpy(), 0.0)
    assert [weight.shape for weight in head.trainable_weights] == [(D, C), (C,)]
