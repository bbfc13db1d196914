"""The queue of prototypes, against one that is kept by hand and losses from the papers."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config.choices import HEADS, PROTOTYPE_HEADS
from keras_sphereface.heads import CosFace, PrototypeQueue, make_head
from tests.helpers.head_reference import (
    CASES,
    MOVED,
    STEP_NUMBER,
    Weights,
    slopes,
)

D, K, B = 5, 12, 6
# Identities of three steps: 7 comes back in the second and third, so that its older prototypes are
# in the queue, and the third step overwrites the first.
LABELS = [[7, 7, 1, 1, 2, 2], [3, 3, 7, 7, 4, 4], [5, 5, 6, 6, 7, 7]]
# Cases of the reference for heads that may have a queue.
USABLE = {
    name: case
    for name, case in CASES.items()
    if case.kind in PROTOTYPE_HEADS and "proj" not in name
}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def batches(seed=0):
    """Embeddings by the gallery and by the probe network, (B, D) each, and labels, by step."""
    rng = np.random.default_rng(seed)
    return [(*rng.normal(size=(2, B, D)), np.array(labels)) for labels in LABELS]


def by_hand(steps):
    """Yield of each step the queue of (identity, unit prototype), the oldest first."""
    queue = collections.deque(maxlen=K)
    for gallery, _, labels in steps:
        queue.extend(zip(labels, unit(gallery), strict=True))
        yield list(queue)


def columns_of_row(queue, labels, row):
    """The row's own prototype, and those of other identities, as columns (D, 1 + negatives)."""
    own = queue[len(queue) - B + (row ^ 1)][1]
    others = [prototype for identity, prototype in queue if identity != labels[row]]
    return np.stack([own, *others], axis=1)


def usable_head(case):
    settings = {"margin_std": 0.0} if "elastic" in case.kind else {}
    return make_head(case.kind, K, dtype="float64", **{**case.settings, **settings})


@pytest.mark.parametrize("name", USABLE)
def test_losses_are_those_of_the_paper_over_the_prototypes_in_the_queue(name):
    case, labels = USABLE[name], np.array(LABELS[-1])
    queue = PrototypeQueue(usable_head(case), D)
    steps = batches()
    for number, (gallery, _, identities) in enumerate(steps[:-1]):
        queue.enqueue(tf.constant(gallery), tf.constant(identities), tf.constant(number + 1))
    gallery, probe, _ = steps[-1]
    # The annealing of the reference is that of this step.
    assert len(steps) == STEP_NUMBER
    step, embeddings = tf.constant(STEP_NUMBER), tf.constant(probe)
    prototypes = queue.enqueue(tf.constant(gallery), tf.constant(labels), step)
    for state, value in case.state.items():
        getattr(queue.head, state).assign(value)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = queue.compute_losses(embeddings, prototypes, step).losses
    gradient = tape.gradient(losses, embeddings)

    *_, in_queue = by_hand(steps)
    columns = [columns_of_row(in_queue, labels, row) for row in range(B)]
    own = np.stack([of_row[:, 0] for of_row in columns], axis=1)
    state = case.state
    if case.kind in MOVED:  # by the rows' own prototypes, or their norms
        state = {**state, **MOVED[case.kind](probe, np.arange(B), weights_of(own, state))}

    def loss_of_row(row):
        return lambda x: case.losses(x, np.array([0]), weights_of(columns[row], state))

    for row in range(B):
        x = probe[row : row + 1]
        assert losses[row].numpy() == pytest.approx(float(loss_of_row(row)(x)[0]), rel=1e-9)
        np.testing.assert_allclose(
            gradient[row : row + 1], slopes(loss_of_row(row), x), rtol=1e-7, atol=1e-9
        )


def weights_of(kernel, state):
    return Weights(kernel, np.zeros(kernel.shape[1]), np.zeros(kernel.T.shape), state)


def test_the_queue_holds_the_newest_prototypes_and_excludes_ones_own():
    queue, steps = PrototypeQueue(CosFace(K, dtype="float64"), D), batches()
    for number, ((gallery, _, labels), expected) in enumerate(
        zip(steps, by_hand(steps), strict=True)
    ):
        prototypes = queue.enqueue(
            tf.constant(gallery), tf.constant(labels), tf.constant(number + 1)
        )
        kernel, identities = queue.prototypes.numpy(), queue.identities.numpy()
        held = {(i, *column.round(9)) for i, column in zip(identities, kernel.T, strict=True)}
        filled = min((number + 1) * B, K)
        empty = {(-1, *np.zeros(D))} if filled < K else set()
        assert held == {(i, *column.round(9)) for i, column in expected} | empty
        np.testing.assert_allclose(
            kernel[:, prototypes.targets], unit(gallery)[[1, 0, 3, 2, 5, 4]].T
        )
        negatives = ~prototypes.excluded.numpy()
        for row, label in enumerate(labels):
            assert (identities[negatives[row]] != label).all()
            assert negatives[row].sum() == sum(i != label for i, _ in expected)


def test_a_prediction_is_right_where_the_own_prototype_is_nearest():
    queue = PrototypeQueue(CosFace(4, scale=16.0), 2)
    gallery = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], "float32")
    probe = np.array([[1.0, 0.1], [0.0, 1.0], [0.0, 1.0], [0.1, 1.0]], "float32")
    prototypes = queue.enqueue(tf.constant(gallery), tf.constant([0, 0, 1, 1]), tf.constant(1))
    output = queue.compute_losses(tf.constant(probe), prototypes, tf.constant(1))
    assert output.correct.numpy().tolist() == [True, False, True, True]
    expected = np.sum(unit(probe) * unit(gallery)[[1, 0, 3, 2]], axis=1)
    np.testing.assert_allclose(output.target_cosine, expected, rtol=1e-5)


def test_a_zero_embedding_and_a_single_step_have_finite_gradients():
    queue = PrototypeQueue(CosFace(8, scale=16.0), 2)
    zeros = tf.zeros((4, 2))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        prototypes = queue.enqueue(zeros, tf.constant([0, 0, 1, 1]), tf.constant(1))
        losses = queue.compute_losses(zeros, prototypes, tf.constant(1)).losses
    assert np.isfinite(losses).all()
    assert np.isfinite(tape.gradient(losses, zeros)).all()


@pytest.mark.parametrize(
    ("kind", "settings", "received"),
    [
        *((kind, {}, "head=") for kind in HEADS if kind not in PROTOTYPE_HEADS),
        ("cosface", {"block_size": 5}, "block_size=5"),
        ("cosface", {"sample_rate": 0.5}, "sample_rate=0.5"),
    ],
)
def test_heads_that_cannot_have_a_queue_are_refused(kind, settings, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        PrototypeQueue(make_head(kind, K, **settings), D)
