"""`Triplet` against loops in float64."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.callbacks.convergence_guard import ConvergenceWatch
from keras_sphereface.heads import Triplet
from tests.helpers.batch_heads import LABELS, C, D, built, clustered_embeddings, losses_of, unit


@pytest.fixture
def embeddings():
    return clustered_embeddings()


def triplets(rows, m, mining):
    """The loss by its definition, one triplet after another."""
    squared = ((rows[:, None] - rows[None, :]) ** 2).sum(axis=2)
    distances = squared if mining == "semi-hard" else np.sqrt(squared)
    same, losses = LABELS[:, None] == LABELS[None, :], []
    for a in range(len(rows)):
        negatives = distances[a][~same[a]]
        positives = [p for p in np.flatnonzero(same[a]) if p != a]
        if mining == "hard":
            farthest = max((distances[a, p] for p in positives), default=0.0)
            losses.append(max(farthest - negatives.min() + m, 0.0))
            continue
        for p in positives:
            farther = negatives[negatives > distances[a, p]]
            to_negative = farther.min() if len(farther) else negatives.max()
            losses.append(max(distances[a, p] - to_negative + m, 0.0))
    return np.mean(losses)


@pytest.mark.parametrize("mining", ["semi-hard", "hard"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_triplet_loss_is_that_of_unit_embeddings(embeddings, mining, dtype):
    head = built(Triplet(C, m=0.3, mining=mining, dtype=dtype))
    expected = triplets(unit(embeddings.astype(np.float64)), 0.3, mining)
    losses = losses_of(head, embeddings.astype(dtype)).losses.numpy()
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    longer = losses_of(head, 7 * embeddings.astype(dtype)).losses.numpy()
    np.testing.assert_allclose(longer, expected, rtol=1e-5)


def test_triplet_head_reports_neighbors_and_angles(embeddings):
    output = losses_of(built(Triplet(C)), embeddings)
    rows = unit(embeddings.astype(np.float64))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(output.correct, LABELS[cosines.argmax(1)] == LABELS)
    for i, (row, label) in enumerate(zip(rows, LABELS, strict=True)):
        others = [j for j in np.flatnonzero(label == LABELS) if j != i]
        mean = rows[others].sum(axis=0)
        expected = row @ mean / np.linalg.norm(mean) if others else 0.0
        np.testing.assert_allclose(output.target_cosine[i], expected, atol=1e-5)


def test_triplet_head_returns_unit_embeddings(embeddings):
    head = Triplet(C)
    outputs = head(tf.constant(embeddings))
    np.testing.assert_allclose(outputs, unit(embeddings), rtol=1e-5)
    assert tuple(head.compute_output_shape((None, D))) == (None, D)


@pytest.mark.parametrize("mining", ["semi-hard", "hard"])
def test_triplets_of_a_batch_without_a_pair_have_no_loss(embeddings, mining):
    head = built(Triplet(C, mining=mining))
    rows = tf.constant(embeddings[:6])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        loss = tf.reduce_sum(losses_of(head, rows, np.arange(6)).losses)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, rows), 0.0)


@pytest.mark.parametrize("mining", ["semi-hard", "hard"])
def test_triplets_whose_faces_are_one_point_are_reported_as_collapsed(mining):
    head = built(Triplet(C, m=0.3, mining=mining))
    losses = losses_of(head, np.ones((len(LABELS), D), np.float32)).losses.numpy()
    np.testing.assert_allclose(losses, head.uninformative_loss, rtol=1e-5)
    watch = ConvergenceWatch(head, patience=5)
    messages = [watch.add(float(losses[0])) for _ in range(6)]
    assert "stayed at m = 0.30 for 5 steps: all faces are mapped to about one point" in messages[4]
