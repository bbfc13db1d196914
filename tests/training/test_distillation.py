"""Distillation: the targets of teachers, the term of the loss, and runs with it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config.rules import check_train_settings
from keras_sphereface.data import images, records
from keras_sphereface.data.preprocessing import normalize
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.export import export_savedmodel, open_network
from keras_sphereface.models import sphereface4
from keras_sphereface.training import train
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.distillation import (
    Distillation,
    joining_projection,
    make_distillation,
    read_teachers,
)
from keras_sphereface.training.train import precision
from tests.helpers.small_training import (
    StopAfter,
    assert_same_state,
    small_config,
    state,
    without_bias,
)

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The SavedModel of a network for the small faces of these tests: embeddings of 8."""
    network = sphereface4(input_shape=(28, 24, 3), embedding_size=8, width=0.05, seed=0)
    return export_savedmodel(network, tmp_path_factory.mktemp("teacher") / "export")


def toy_teacher(seed, size):
    """A linear function of 12 pixels."""
    kernel = np.random.default_rng(seed).normal(size=(12, size)).astype(np.float32)
    return lambda pixels: tf.matmul(tf.reshape(tf.cast(pixels, tf.float32), [-1, 12]), kernel)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_targets_have_the_mean_of_the_teachers_cosines():
    teachers = [toy_teacher(0, 5), toy_teacher(1, 7)]
    pixels = RNG.integers(0, 256, (6, 2, 2, 3)).astype(np.uint8)
    normalized = (pixels.astype(np.float32) - 127.5) / 128
    targets = Distillation(teachers, tf.eye(12, 16), 1.0).targets(normalized).numpy()
    of_each = [unit(teacher(pixels).numpy()) for teacher in teachers]
    expected = sum(rows @ rows.T for rows in of_each) / 2
    np.testing.assert_allclose(targets @ targets.T, expected, atol=1e-6)
    assert targets.shape == (6, 16)


def test_the_map_keeps_products_where_it_can():
    joined = RNG.normal(size=(50, 4)) @ RNG.normal(size=(4, 9))  # of rank 4
    for size in (4, 6, 9, 12):
        mapped = joined @ joining_projection(joined, size)
        assert mapped.shape == (50, size)
        np.testing.assert_allclose(mapped @ mapped.T, joined @ joined.T, atol=1e-4)
    # Of fewer numbers, those of most variance.
    joined = RNG.normal(size=(200, 3)) * [1, 9, 0.1]
    assert abs(joining_projection(joined, 1)[1, 0]) > 0.99


def test_the_term_is_one_minus_the_cosine():
    embeddings, targets = RNG.normal(size=(2, 5, 8))
    losses = Distillation([], tf.eye(8), 2.5).losses(
        tf.constant(embeddings), tf.constant(unit(targets))
    )
    np.testing.assert_allclose(losses, 2.5 * (1 - np.sum(unit(embeddings) * unit(targets), axis=1)))


def test_a_zero_embedding_has_a_finite_gradient():
    distillation, zero = Distillation([], tf.eye(4), 1.0), tf.zeros((1, 4))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        loss = distillation.losses(zero, tf.ones((1, 4)) / 2)
    assert np.isfinite(tape.gradient(loss, zero)).all()


def test_a_continued_run_keeps_the_map(teacher, records_folder, tmp_path):
    arguments = [(str(teacher),) * 2, 1.0, str(records_folder), 5, tmp_path]
    first = make_distillation(*arguments).projection.numpy()
    assert first.shape == (16, 5)
    with np.load(tmp_path / "teachers.npz") as saved:
        fingerprints = saved["fingerprints"]
    np.savez(tmp_path / "teachers.npz", projection=2 * first, fingerprints=fingerprints)
    np.testing.assert_array_equal(make_distillation(*arguments).projection, 2 * first)
    arguments[3] = 6
    with pytest.raises(ValueError, match=r"to 6 numbers.* Received: one of these teachers to 5"):
        make_distillation(*arguments)
    arguments[3] = 5
    np.savez(tmp_path / "teachers.npz", projection=first, fingerprints=["0" * 64] * 2)
    with pytest.raises(ValueError, match="Received: one of other teachers"):
        make_distillation(*arguments)


def test_settings_and_teachers_that_do_not_fit_are_refused(teacher, records_folder, tmp_path):
    with pytest.raises(ValueError, match="Received: teacher_weight=0"):
        check_train_settings(small_config(records_folder, tmp_path, teacher_weight=0.0))
    with pytest.raises(ValueError, match=r"the size of the records, \(112, 112\)"):
        read_teachers([str(teacher)], (112, 112))


def trained(folder, workdir, steps=3, **settings):
    """The trainer after some steps in float64."""
    settings = {"learning_rate": 0.05, "precision": "float64", "embedding_size": 8, **settings}
    config = small_config(folder, workdir, **settings)
    with precision(config.precision):
        trainer = build_trainer(config, records.read_info(folder), make_strategy(), without_bias)
    step = build_step(config, trainer)
    batches = iter(distributed_batches(config, trainer.strategy, 0))
    for _ in range(steps):
        step(batches)
    return trainer


@pytest.mark.slow
def test_micro_batches_are_one_batch(teacher, records_folder, tmp_path):
    distilled = {"teacher": (str(teacher),)}
    whole, parts, without = (
        trained(records_folder, tmp_path, **settings).backbone.get_weights()[0]
        for settings in (distilled, {**distilled, "accumulate_steps": 2}, {})
    )
    np.testing.assert_allclose(whole, parts, atol=1e-10)
    assert np.abs(whole - without).max() > 1e-3


@pytest.mark.slow
def test_the_network_comes_nearer_to_its_teacher(teacher, records_folder, tmp_path):
    faces = [images.decode(r.image) for r in records.read_folder(records_folder)]
    expected = unit(open_network(teacher)(np.stack(faces)))

    def mean_cosine(trainer):
        embeddings = trainer.backbone(tf.cast(normalize(np.stack(faces)), tf.float64)).numpy()
        return np.mean(np.sum(unit(embeddings) * expected, axis=1))

    settings = {"teacher": (str(teacher),), "teacher_weight": 100.0, "shift": 0.0}
    start = mean_cosine(trained(records_folder, tmp_path, steps=0, **settings))
    end = mean_cosine(trained(records_folder, tmp_path, steps=20, **settings))
    assert end > start + 0.2


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_run_with_teachers_is_continued(teacher, records_folder, tmp_path):
    settings = {"teacher": (str(teacher),), "precision": "float64"}
    stopped, whole = (
        small_config(records_folder, tmp_path / name, **settings) for name in ("stopped", "whole")
    )
    train(stopped, without_bias, [StopAfter(2)])
    train(stopped, without_bias)
    train(whole, without_bias)
    states = [state(tmp_path / name, 6) for name in ("stopped", "whole")]
    assert_same_state(*states, 1e-10)
