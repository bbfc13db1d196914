"""Heads whose loss looks at the whole batch, against loops in float64."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.callbacks.convergence_guard import ConvergenceWatch
from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.heads import PlainSoftmax, SoftmaxCenter, SoftmaxContrastive, Triplet
from keras_sphereface.heads.registry import make_head
from keras_sphereface.training.build_head import check_batches, head_of, images_per_identity
from tests.conftest import ROOT

C, D = 6, 5
LABELS = np.array([0, 0, 0, 2, 2, 5, 5, 5, 1])
WHOLE_BATCH = [kind for kind in HEADS if make_head(kind, C).needs_global_batch]


@pytest.fixture
def embeddings():
    rng = np.random.default_rng(4)
    return (2.0 * rng.normal(size=(len(LABELS), D)) + np.eye(C, D)[LABELS]).astype(np.float32)


def built(head):
    head.build((None, D))
    return head


def losses_of(head, embeddings, labels=LABELS, training=True):
    outputs = head(tf.constant(embeddings), training=training)
    return head.compute_losses(tf.constant(labels), outputs)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax_losses(head, embeddings):
    """The same class weights without a further term."""
    plain = built(PlainSoftmax(C))
    for own, of in zip([*plain.kernels, *plain.biases], [*head.kernels, *head.biases], strict=True):
        own.assign(of)
    return losses_of(plain, embeddings).losses.numpy()


def test_heads_of_the_whole_batch_are_those_that_compare():
    assert WHOLE_BATCH == ["softmax+contrastive", "softmax+center", "triplet", "triplet-hard"]


def test_contrastive_term_is_the_mean_over_both_kinds_of_pairs(embeddings):
    head = built(SoftmaxContrastive(C, m=1.2, term_weight=0.7))
    rows, of_same, of_two = unit(embeddings.astype(np.float64)), [], []
    for i, j in itertools.combinations(range(len(rows)), 2):
        distance = np.linalg.norm(rows[i] - rows[j])
        if LABELS[i] == LABELS[j]:
            of_same.append(distance**2)
        else:
            of_two.append(max(1.2 - distance, 0.0) ** 2)
    expected = 0.7 * (np.mean(of_same) + np.mean(of_two)) / 2
    added = losses_of(head, embeddings).losses.numpy() - softmax_losses(head, embeddings)
    np.testing.assert_allclose(added, expected, rtol=1e-4)


@pytest.mark.parametrize("labels", [np.arange(6), np.zeros(6, int)], ids=["no pair", "one person"])
def test_contrastive_term_of_a_kind_that_is_not_there_is_zero(embeddings, labels):
    head = built(SoftmaxContrastive(C))
    loss = head.pair_loss(tf.constant(embeddings[:6]), tf.constant(labels))
    rows = unit(embeddings[:6].astype(np.float64))
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(rows, 2)]
    if len(set(labels)) > 1:
        expected = np.mean([max(1.0 - d, 0.0) ** 2 for d in distances]) / 2
    else:
        expected = np.mean(np.square(distances)) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_center_term_and_centers_follow_the_paper(embeddings):
    head = built(SoftmaxCenter(C, term_weight=0.3, center_rate=0.4))
    centers = np.zeros((C, D))
    for step in range(3):
        rows = embeddings.astype(np.float64) * (step + 1)
        expected = [0.15 * np.sum((x - centers[c]) ** 2) for x, c in zip(rows, LABELS, strict=True)]
        added = losses_of(head, embeddings * (step + 1)).losses.numpy()
        added -= softmax_losses(head, embeddings * (step + 1))
        np.testing.assert_allclose(added, expected, rtol=1e-3, atol=1e-4)
        for person in range(C):
            own = rows[person == LABELS]
            centers[person] += 0.4 * np.sum(own - centers[person], axis=0) / (1 + len(own))
        np.testing.assert_allclose(head.centers.numpy(), centers, rtol=1e-5, atol=1e-6)


def test_centers_stay_outside_of_training_and_learn_no_gradient(embeddings):
    head = built(SoftmaxCenter(C))
    losses_of(head, embeddings, training=False)
    np.testing.assert_array_equal(head.centers.numpy(), 0.0)
    assert [weight.shape for weight in head.trainable_weights] == [(D, C), (C,)]


def test_centers_are_saved_with_the_model(embeddings, tmp_path):
    head = SoftmaxCenter(C)
    model = keras.Sequential([keras.Input((D,)), head])
    model.compile(keras.optimizers.SGD(0.1), loss=head.loss)
    model.fit(embeddings, LABELS, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert np.abs(loaded.centers.numpy()).max() > 0.1
    np.testing.assert_array_equal(loaded.centers.numpy(), head.centers.numpy())


def triplets(rows, m, mining):
    """The loss by its definition, one triplet after another."""
    squared = ((rows[:, None] - rows[None, :]) ** 2).sum(axis=2)
    distances = squared if mining == "semi-hard" else np.sqrt(squared)
    same, losses = LABELS[:, None] == LABELS[None, :], []
    for a in range(len(rows)):
        others, own = distances[a][~same[a]], [p for p in np.flatnonzero(same[a]) if p != a]
        if mining == "hard":
            farthest = max((distances[a, p] for p in own), default=0.0)
            losses.append(max(farthest - others.min() + m, 0.0))
            continue
        for p in own:
            farther = others[others > distances[a, p]]
            losses.append(
                max(distances[a, p] - (farther.min() if len(farther) else others.max()) + m, 0.0)
            )
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


def test_triplet_head_tells_neighbors_and_angles(embeddings):
    found = losses_of(built(Triplet(C)), embeddings)
    rows = unit(embeddings.astype(np.float64))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(found.correct, LABELS[cosines.argmax(1)] == LABELS)
    for i, (row, person) in enumerate(zip(rows, LABELS, strict=True)):
        others = [j for j in np.flatnonzero(person == LABELS) if j != i]
        mean = rows[others].sum(axis=0)
        expected = row @ mean / np.linalg.norm(mean) if others else 0.0
        np.testing.assert_allclose(found.target_cosine[i], expected, atol=1e-5)


def test_triplet_head_returns_unit_embeddings(embeddings):
    head = Triplet(C)
    outputs = head(tf.constant(embeddings))
    np.testing.assert_allclose(outputs, unit(embeddings), rtol=1e-5)
    assert tuple(head.compute_output_shape((None, D))) == (None, D)


@pytest.mark.parametrize("kind", WHOLE_BATCH)
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_heads_learn_in_fit_and_survive_saving(embeddings, kind, jit, tmp_path):
    keras.utils.set_random_seed(1)
    head = make_head(kind, C)
    model = keras.Sequential([keras.Input((D,)), keras.layers.Dense(D), head])
    model.compile(keras.optimizers.SGD(0.05), loss=head.loss, jit_compile=jit)
    settings = {"epochs": 12, "batch_size": len(LABELS), "shuffle": False, "verbose": 0}
    losses = model.fit(embeddings, LABELS, **settings).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == head.get_config()
    np.testing.assert_allclose(loaded(embeddings), model(embeddings), rtol=1e-6)
    assert int(loaded.layers[-1].step.numpy()) == 12


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda: SoftmaxContrastive(C, m=2.5), "m=2.5"),
        (lambda: SoftmaxContrastive(C, term_weight=-1.0), "term_weight=-1.0"),
        (lambda: SoftmaxCenter(C, term_weight=-1.0), "term_weight=-1.0"),
        (lambda: SoftmaxCenter(C, center_rate=1.5), "center_rate=1.5"),
        (lambda: Triplet(C, m=-0.1), "m=-0.1"),
        (lambda: Triplet(C, mining="soft"), "mining='soft'"),
        (lambda: Triplet(1), "num_classes=1"),
        (lambda: make_head("triplet", C, sample_rate=0.5), "sample_rate=0.5"),
        (lambda: head_of(TrainConfig(head="triplet", sample_rate=0.5), C), "sample_rate=0.5"),
        (lambda: head_of(TrainConfig(head="triplet", gamma=0.5), C), "gamma=0.5"),
        (lambda: head_of(TrainConfig(term_weight=0.5), C), "term_weight=0.5"),
        (lambda: Triplet(C, m=2.5, mining="hard"), "m=2.5"),
    ],
)
def test_bad_settings_are_refused(make, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        make()


@pytest.mark.parametrize(
    ("replicas", "settings", "received"),
    [
        (1, {"head": "softmax+center", "accumulate_steps": 2}, "accumulate_steps=2"),
        (2, {"head": "softmax+contrastive", "jit": True}, "jit=True"),
        (1, {"head": "triplet", "shard_classes": True}, "shard_classes=True"),
        (1, {"head": "triplet", "images_per_identity": 0}, "images_per_identity=0"),
        (1, {"images_per_identity": 1}, "images_per_identity=1"),
        (1, {"head": "triplet", "batch_size": 10}, "batch_size=10"),
        (1, {"head": "triplet", "batch_size": 4}, "batch_size=4"),
        (1, {"images_per_identity": 2, "worker_shards": True}, "worker_shards=True"),
    ],
)
def test_batches_that_a_head_cannot_use_are_refused(replicas, settings, received):
    config = TrainConfig(**settings)
    with pytest.raises(ValueError, match=f"Received: {received}"):
        check_batches(config, head_of(config, C), replicas)


@pytest.mark.parametrize("mining", ["semi-hard", "hard"])
def test_triplets_of_a_batch_without_a_pair_cost_nothing(embeddings, mining):
    head = built(Triplet(C, mining=mining))
    rows = tf.constant(embeddings[:6])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        loss = tf.reduce_sum(losses_of(head, rows, np.arange(6)).losses)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, rows), 0.0)


@pytest.mark.parametrize("mining", ["semi-hard", "hard"])
def test_triplets_whose_faces_are_one_point_are_said_to_be_stuck(mining):
    head = built(Triplet(C, m=0.3, mining=mining))
    losses = losses_of(head, np.ones((len(LABELS), D), np.float32)).losses.numpy()
    np.testing.assert_allclose(losses, head.uninformative_loss, rtol=1e-5)
    watch = ConvergenceWatch(head, patience=5)
    said = [watch.add(float(losses[0])) for _ in range(6)]
    assert "stayed at m = 0.30 for 5 steps: all faces are mapped to about one point" in said[4]


def test_settings_reach_the_heads():
    assert head_of(TrainConfig(head="softmax+contrastive", m=0.8, term_weight=2.0), C).m == 0.8
    assert head_of(TrainConfig(head="softmax+center", term_weight=2.0), C).term_weight == 2.0
    assert head_of(TrainConfig(head="triplet-hard", m=0.5), C).mining == "hard"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0),
        ({"images_per_identity": 3}, 3),
        ({"head": "softmax+center"}, 0),
        ({"head": "triplet"}, 4),
        ({"head": "triplet", "images_per_identity": 2}, 2),
    ],
)
def test_batches_are_balanced_where_the_head_needs_it(settings, expected):
    assert images_per_identity(TrainConfig(**settings)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHOLE_BATCH)
def test_two_devices_with_other_numbers_of_rows_work_as_one(kind, tmp_path):
    out = tmp_path / "found.npz"
    command = [sys.executable, "-m", "tests.helpers.batch_head_process", kind, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(np.load(out))
    one = {name[2:]: value for name, value in found.items() if name.startswith("1 ")}
    assert len(one) >= 7
    for name, value in one.items():
        tolerance = 1e-12 if name.startswith("run") else 1e-6
        np.testing.assert_allclose(found[f"2 {name}"], value, atol=tolerance, err_msg=name)
    assert np.abs(one["run 3"]).max() > 0.01
