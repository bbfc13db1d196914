"""Semi-siamese training from a trained network, and together with averages and teachers."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.settings_files import read_config
from keras_sphereface.data import images, records
from keras_sphereface.data.preprocessing import normalize
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.export import export_savedmodel, open_network
from keras_sphereface.heads import ASoftmax
from keras_sphereface.models import sphereface4
from keras_sphereface.training.build import build_step, build_trainer, distributed_batches
from keras_sphereface.training.starting_point import read_starting_point
from keras_sphereface.training.train import precision, train
from tests.conftest import convert_training_identities
from tests.helpers import weights_files
from tests.helpers.small_training import (
    StopAfter,
    assert_same_state,
    checkpoint,
    one_layer,
    small_config,
    state,
)

SEMI = {"semi_siamese": True, "head": "cosface", "scale": 9.0, "queue_size": 12}


@pytest.fixture(scope="module")
def first(records_folder, tmp_path_factory):
    """A run of 2 steps of a network of the paper with batch normalization."""
    workdir = tmp_path_factory.mktemp("first") / "run"
    settings = {"backbone": "sphereface4", "width": 0.05, "batch_norm": True, "total_steps": 2}
    train(small_config(records_folder, workdir, **settings))
    return workdir


def start_config(folder, workdir, start, **settings):
    """Settings of a semi-siamese run; those of the network are the start's."""
    config = small_config(folder, workdir, start_from=str(start), **{**SEMI, **settings})
    defaults = TrainConfig()
    return dataclasses.replace(
        config, backbone=defaults.backbone, embedding_size=defaults.embedding_size
    )


def saved_networks(workdir, step=0):
    """The weights of the probe and of the gallery network in a checkpoint."""
    config = read_config(TrainConfig, workdir / "config.yaml")
    trainer = build_trainer(config, records.read_info(config.data), make_strategy())
    networks = {"backbone": trainer.backbone, "gallery": trainer.gallery.network}
    path = checkpoint(workdir, step) / "weights"
    tf.train.Checkpoint(**networks).restore(str(path)).expect_partial()
    return [
        [np.asarray(variable) for variable in network.variables] for network in networks.values()
    ]


def classifier(path, dropout=0.2):
    """A .keras file of a network with batch normalization, dropout and a head."""
    image = keras.Input((28, 24, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(dropout, seed=3)(keras.layers.Flatten()(x))
    x = keras.layers.Dense(8, name="embedding")(x)
    keras.Model(image, ASoftmax(3)(x), name="mine").save(path)
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("kind", ["run", "export", "network.keras", "mine.keras", "caffemodel"])
def test_both_networks_begin_with_the_weights_of_the_start(
    kind, first, faces, records_folder, tmp_path
):
    folder, settings = records_folder, {}
    if kind == "mine.keras":
        path = classifier(tmp_path / kind)
    elif kind == "caffemodel":
        folder = convert_training_identities(faces, tmp_path / "records", 1)
        path = tmp_path / "weights.caffemodel"
        layers = weights_files.random_layers((0, 0, 0, 0))
        path.write_bytes(weights_files.caffemodel(layers, "packed"))
    else:
        path = first / ("" if kind == "run" else kind)
    expected = read_starting_point(path).weights
    train(start_config(folder, tmp_path / "run", path, **settings), callbacks=[StopAfter(1)])
    for network in saved_networks(tmp_path / "run"):
        for array, weight in zip(expected, network, strict=True):
            np.testing.assert_array_equal(array, weight)


@pytest.mark.slow
def test_both_networks_are_frozen_alike(first, records_folder, tmp_path):
    settings = {"freeze_stages": 2, "hold_batch_norm": True, "gallery_momentum": 0.5}
    train(start_config(records_folder, tmp_path / "run", first, total_steps=2, **settings))
    (before, _), (probe, gallery) = (saved_networks(tmp_path / "run", step) for step in (0, 2))
    changes = np.array(
        [
            [np.abs(weight - old).max() for weight, old in zip(network, before, strict=True)]
            for network in (probe, gallery)
        ]
    )
    moved = changes > 0
    np.testing.assert_array_equal(moved[0], moved[1])
    assert 0 < moved[0].sum() < len(before)
    # The gallery network is between the start and the probe network.
    assert (changes[1] < changes[0])[moved[0]].all()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The SavedModel of a network for the small faces of these tests: embeddings of 8."""
    network = sphereface4(input_shape=(28, 24, 3), embedding_size=8, width=0.05, seed=4)
    return export_savedmodel(network, tmp_path_factory.mktemp("teacher") / "export")


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("kind", ["run", "mine.keras", "averages and teacher"])
def test_a_continued_run_equals_one_that_was_not_stopped_bit_for_bit(
    kind, first, teacher, records_folder, tmp_path
):
    # With dropout a network draws other numbers after a stop.
    path = classifier(tmp_path / kind, dropout=0.0) if kind == "mine.keras" else first
    more = {"ema": 0.9, "teacher": (str(teacher),)} if kind.startswith("averages") else {}
    whole = start_config(records_folder, tmp_path / "whole", path, **more)
    parts = dataclasses.replace(whole, workdir=str(tmp_path / "parts"))
    train(whole)
    train(parts, callbacks=[StopAfter(3)])
    if kind == "mine.keras":
        path.unlink()
    train(parts)
    one, two = (state(tmp_path / name, 6) for name in ("whole", "parts"))
    expected = {"gallery", "prototypes", "identities"} | ({"averages"} if more else set())
    assert {name.split("/")[0] for name in one} >= expected
    assert_same_state(one, two, 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_a_semi_siamese_run_is_a_start_too(first, records_folder, tmp_path):
    """Of another semi-siamese run, and of one with class weights, which begin anew."""
    train(start_config(records_folder, tmp_path / "second", first, total_steps=1))
    assert not (tmp_path / "second" / "head.weights.h5").exists()
    second = read_starting_point(tmp_path / "second")
    third = start_config(records_folder, tmp_path / "third", tmp_path / "second", total_steps=1)
    fourth = dataclasses.replace(
        third, workdir=str(tmp_path / "fourth"), semi_siamese=False, queue_size=None, scale=None
    )
    for config in (third, fourth):
        train(dataclasses.replace(config, learning_rate=0.0))
        after = read_starting_point(config.workdir)
        np.testing.assert_array_equal(after.weights[0], second.weights[0])
    text = (tmp_path / "fourth" / "summary.md").read_text()
    assert "the start has no head.weights.h5" in text
    assert (tmp_path / "fourth" / "head.weights.h5").exists()


def one_kernel(input_shape, embedding_size, seed):
    """A network whose weights are one kernel."""
    return one_layer(input_shape, embedding_size, seed, use_bias=False)


def trained(folder, workdir, steps, **settings):
    """The trainer after some steps in float64, and the kernel of the probe network after each."""
    settings = {"schedule": "constant", "embedding_size": 8, "learning_rate": 0.05, **settings}
    settings["precision"] = "float64"
    config = small_config(folder, workdir, **{**SEMI, **settings})
    with precision("float64"):
        trainer = build_trainer(config, records.read_info(folder), make_strategy(), one_kernel)
    step = build_step(config, trainer)
    batches = iter(distributed_batches(config, trainer.strategy, 0))
    kernels = [trainer.backbone.get_weights()[0]]
    for _ in range(steps):
        step(batches)
        kernels.append(trainer.backbone.get_weights()[0])
    return trainer, kernels


@pytest.mark.slow
def test_averages_are_those_of_the_probe_network(records_folder, tmp_path):
    trainer, kernels = trained(records_folder, tmp_path, 5, ema=0.2, gallery_momentum=0.7)
    average, gallery = kernels[0], kernels[0]
    for number, kernel in enumerate(kernels[1:], start=1):
        of_average, of_gallery = (min(m, number / (number + 9)) for m in (0.2, 0.7))
        average = of_average * average + (1 - of_average) * kernel
        gallery = of_gallery * gallery + (1 - of_gallery) * kernel
    assert np.abs(average - gallery).max() > 1e-4
    np.testing.assert_allclose(trainer.averages[0], average, atol=1e-6)
    np.testing.assert_allclose(trainer.gallery.network.get_weights()[0], gallery, atol=1e-6)
    with trainer.averaged() as network:
        np.testing.assert_allclose(network.get_weights()[0], average, atol=1e-6)
    np.testing.assert_array_equal(trainer.backbone.get_weights()[0], kernels[-1])


@pytest.mark.slow
def test_the_network_comes_nearer_to_its_teacher(teacher, records_folder, tmp_path):
    faces = np.stack([images.decode(one.image) for one in records.read_folder(records_folder)])

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    expected = unit(open_network(teacher)(faces))

    def mean_cosine(name, steps, **settings):
        workdir = tmp_path / name
        trainer, _ = trained(records_folder, workdir, steps, shift=0.0, **settings)
        embeddings = trainer.backbone(tf.cast(normalize(faces), tf.float64)).numpy()
        return np.mean(np.sum(unit(embeddings) * expected, axis=1))

    taught = {"teacher": (str(teacher),), "teacher_weight": 100.0}
    start, alone = mean_cosine("start", 0), mean_cosine("alone", 20)
    assert mean_cosine("taught", 20, **taught) > max(start, alone) + 0.2
