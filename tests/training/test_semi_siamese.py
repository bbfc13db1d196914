"""Semi-siamese training: steps against NumPy, the gallery network, and runs with it."""

import collections
import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config import ConvertConfig, TrainConfig
from keras_sphereface.config.rules import check_train_settings, queue_size_of
from keras_sphereface.data import preprocessing, records
from keras_sphereface.data.augmentation import Augmentation
from keras_sphereface.data.conversion.convert import make_records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.training import train
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.train import precision
from tests.helpers.head_reference import CASES, Weights, slopes
from tests.helpers.small_training import StopAfter, one_layer, small_config, state

SEMI = {"semi_siamese": True, "head": "cosface", "scale": 9.0, "queue_size": 12}


def one_kernel(input_shape, embedding_size, seed):
    """A network whose weights are one kernel."""
    return one_layer(input_shape, embedding_size, seed, use_bias=False)


def normalized(input_shape, embedding_size, seed):
    """A network with batch normalization."""
    return keras.Sequential(
        [
            *one_layer(input_shape, embedding_size, seed).layers,
            keras.layers.BatchNormalization(momentum=0.5),
        ]
    )


def trained(folder, steps, backbone=one_kernel, precision_="float64", **settings):
    """The trainer after some steps, without a run."""
    settings = {"precision": precision_, "schedule": "constant", "embedding_size": 4, **settings}
    config = small_config(folder, "", **SEMI, **settings)
    with precision(config.precision):
        trainer = build_trainer(config, records.read_info(folder), make_strategy(), backbone)
    step = build_step(config, trainer)
    batches = iter(distributed_batches(config, trainer.strategy, 0))
    sums = [step(batches).numpy() for _ in range(steps)]
    return trainer, sums


def features_by_step(folder, steps):
    """What the kernel of `one_kernel` is multiplied by, (B, 126), and labels, of each step."""
    config = small_config(folder, "", **SEMI)
    batches = iter(distributed_batches(config, make_strategy(), 0))
    pooling = keras.layers.AveragePooling2D(4, dtype="float64")
    for number in range(steps):
        images, labels = next(batches)
        augmented = Augmentation(shift=config.shift)(images, (config.seed, number), (0, 6))
        pooled = pooling(tf.cast(preprocessing.normalize(augmented), tf.float64)).numpy()
        yield pooled.reshape(6, -1), labels.numpy()


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def loss_by_definition(queue, features, labels):
    """The mean loss of a batch as a function of the kernel of the probe network."""
    newest = list(queue)[-len(labels) :]

    def mean_loss(kernel):
        total = 0.0
        for row, (x, label) in enumerate(zip(features @ kernel, labels, strict=True)):
            partner = newest[row + 1 if row % 2 == 0 else row - 1]
            others = [prototype for identity, prototype in queue if identity != label]
            columns = np.stack([partner[1], *others], axis=1)
            weights = Weights(columns, np.zeros(columns.shape[1]), columns.T)
            total = total + CASES["cosface"].losses(x[None], np.array([0]), weights)[0]
        return total / len(labels)

    return mean_loss


def test_steps_are_those_of_the_equations(records_folder):
    """Augmentation apart, nothing here is computed by the package."""
    start, _ = trained(records_folder, 0)
    (probe,) = start.backbone.get_weights()
    gallery, velocity = probe.copy(), np.zeros_like(probe)
    queue = collections.deque(maxlen=12)
    losses = []
    for number, (features, labels) in enumerate(features_by_step(records_folder, 4), start=1):
        assert (labels[::2] == labels[1::2]).all()
        queue.extend(zip(labels, unit(features @ gallery), strict=True))
        mean_loss = loss_by_definition(queue, features, labels)
        losses.append(float(mean_loss(probe)))
        gradient = slopes(mean_loss, probe) + 5e-4 * probe
        velocity = 0.9 * velocity - 0.01 * gradient
        probe = probe + velocity
        momentum = min(0.5, number / (number + 9))
        gallery = momentum * gallery + (1 - momentum) * probe
    trainer, sums = trained(records_folder, 4, gallery_momentum=0.5)
    np.testing.assert_allclose([one[0] / 6 for one in sums], losses, rtol=1e-6)
    np.testing.assert_allclose(trainer.backbone.get_weights()[0], probe, atol=1e-6)
    np.testing.assert_allclose(trainer.gallery.network.get_weights()[0], gallery, atol=1e-6)
    held = trainer.gallery.queue
    # Four steps of six: the third and the fourth are in the queue, in this order.
    np.testing.assert_allclose(held.prototypes.numpy().T, [row for _, row in queue], atol=1e-6)
    assert held.identities.numpy().tolist() == [identity for identity, _ in queue]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"accumulate_steps": 2}, {"accumulate_steps": 3}, {"jit": True}]
)
def test_micro_batches_and_compilation_change_nothing(records_folder, settings):
    one, other = (trained(records_folder, 3, **more)[0] for more in ({}, settings))
    for name in ("backbone", "gallery"):
        networks = [getattr(one, name), getattr(other, name)]
        networks = networks if name == "backbone" else [each.network for each in networks]
        np.testing.assert_allclose(*(each.get_weights()[0] for each in networks), atol=1e-10)
    assert np.abs(one.backbone.get_weights()[0] - one.gallery.network.get_weights()[0]).max() > 1e-4


@pytest.mark.slow
def test_the_statistics_of_batch_normalization_are_those_of_the_probe_network(records_folder):
    trainer, _ = trained(records_folder, 2, normalized)
    (of_probe, of_gallery) = trainer.backbone, trainer.gallery.network
    pairs = zip(of_probe.non_trainable_weights, of_gallery.non_trainable_weights, strict=True)
    for ours, theirs in pairs:
        assert np.abs(np.asarray(ours)).max() > 0
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert not np.array_equal(of_probe.get_weights()[0], of_gallery.get_weights()[0])


@pytest.mark.slow
def test_in_mixed_precision_weights_and_prototypes_are_float32(records_folder):
    trainer, sums = trained(records_folder, 3, precision_="mixed_bfloat16")
    assert np.isfinite(sums).all()
    queue = trainer.gallery.queue
    assert queue.prototypes.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(queue.prototypes, axis=0), 1.0, rtol=1e-5)
    assert trainer.gallery.network.get_weights()[0].dtype == np.float32
    assert trainer.gallery.network.layers[-1].compute_dtype == "bfloat16"


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_continued_run_equals_one_that_was_not_stopped_bit_for_bit(records_folder, tmp_path):
    stopped, whole = (small_config(records_folder, tmp_path / n, **SEMI) for n in ("a", "b"))
    train(stopped, callbacks=[StopAfter(2)])
    train(stopped)
    train(whole)
    one, two = (state(tmp_path / name, 6) for name in ("a", "b"))
    assert set(one) == set(two)
    assert {name.split("/")[0] for name in one} >= {"gallery", "prototypes", "identities"}
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)
    assert not (tmp_path / "a" / "head.weights.h5").exists()


@pytest.mark.slow
def test_a_run_that_starts_from_another_says_that_class_weights_are_not_kept(
    records_folder, tmp_path, no_curves, capsys
):
    del no_curves
    first = small_config(records_folder, tmp_path / "first", backbone="sphereface4", width=0.05)
    train(dataclasses.replace(first, total_steps=1))
    second = small_config(records_folder, tmp_path / "second", backbone="sphereface4", width=0.05)
    train(
        dataclasses.replace(second, start_from=str(tmp_path / "first"), **SEMI),
        callbacks=[StopAfter(2)],
    )
    assert "none: prototypes take the place of class weights" in capsys.readouterr().err


@pytest.mark.slow
def test_identities_with_one_image_are_trained(faces, tmp_path):
    """Their image is augmented twice, and the network learns to match the two."""
    for folder in sorted((faces / "images").iterdir()):
        (tmp_path / "images" / folder.name).mkdir(parents=True)
        first = sorted(folder.iterdir())[0]
        shutil.copy(first, tmp_path / "images" / folder.name / first.name)
    folder = tmp_path / "records"
    source, landmarks = str(tmp_path / "images"), str(faces / "landmarks.txt")
    size = {"height": 28, "width": 24, "min_images": 1}
    make_records(ConvertConfig(source=source, out=str(folder), landmarks=landmarks, **size))
    info = records.read_info(folder)
    assert info.num_images == info.num_identities > 12
    _, sums = trained(folder, 60, learning_rate=0.05)
    losses = [one[0] / 6 for one in sums]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[2:12])


@pytest.mark.parametrize(
    ("settings", "received"),
    [
        ({"head": "softmax"}, "head='softmax'"),
        ({"head": "triplet"}, "head='triplet'"),
        ({"head": "subcenter-arcface"}, "head='subcenter-arcface'"),
        ({"shard_classes": True}, "shard_classes=True"),
        ({"sample_rate": 0.5}, "sample_rate=0.5"),
        ({"block_size": 4}, "block_size=4"),
        ({"kernel_norm": "projected"}, "kernel_norm=projected"),
        ({"worker_shards": True}, "worker_shards=True"),
        ({"new_classes": "random", "start_from": "run"}, "new_classes='random'"),
        ({"images_per_identity": 4}, "images_per_identity=4"),
        ({"images_per_identity": 0}, "images_per_identity=0"),
        ({"batch_size": 5}, "batch_size=5"),
        ({"queue_size": 9}, "queue_size=9, batch_size=6"),
        ({"gallery_momentum": 1.0}, "gallery_momentum=1.0"),
        ({"semi_siamese": False}, "queue_size=12"),
        ({"semi_siamese": False, "queue_size": None, "gallery_momentum": 0.9}, "momentum=0.9"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, received):
    config = TrainConfig(**{"batch_size": 6, **SEMI, **settings})
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        check_train_settings(config)


def test_the_queue_is_by_default_a_multiple_of_the_batch():
    for batch, size in ((256, 16_384), (100, 16_300), (20_000, 20_000)):
        assert queue_size_of(TrainConfig(semi_siamese=True, batch_size=batch)) == size
    assert queue_size_of(TrainConfig(semi_siamese=True, batch_size=4, queue_size=8)) == 8
