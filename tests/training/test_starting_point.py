"""Training that goes on from a trained network: what it takes over, keeps, freezes and reports."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sphereface.commands.checks import check_train
from keras_sphereface.config import TrainConfig
from keras_sphereface.config.settings_files import read_config
from keras_sphereface.export import load_backbone
from keras_sphereface.heads import ASoftmax
from keras_sphereface.models import sphereface4
from keras_sphereface.training.class_weights import read_class_weights, read_labels
from keras_sphereface.training.run_config import take_network_settings
from keras_sphereface.training.starting_point import StartingPoint, read_starting_point
from keras_sphereface.training.train import train
from tests.helpers.small_training import (
    SAME_COLUMNS,
    StopAfter,
    assert_same_state,
    small_config,
    state,
)

SMALL_NETWORK = {"backbone": "sphereface4", "width": 0.05}
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 28, 24, 3)).astype("float32")


@pytest.fixture(scope="module")
def first(records_folder, tmp_path_factory, verified):
    """A run of 3 steps of a network of the paper, which verified pairs."""
    workdir = tmp_path_factory.mktemp("first") / "run"
    settings = {**SMALL_NETWORK, "total_steps": 3, **verified(3), "verify_folds": (1, 2, 3)}
    train(small_config(records_folder, workdir, **settings))
    return workdir


@pytest.fixture(scope="module")
def new_records(records_folder, tmp_path_factory):
    """The same records; all but two of the identities have other names."""
    folder = shutil.copytree(records_folder, tmp_path_factory.mktemp("new") / "records")
    lines = (folder / "labels.csv").read_text().splitlines()
    renamed = [line.replace("person_", "other_") for line in lines[3:]]
    (folder / "labels.csv").write_text("\n".join([*lines[:3], *renamed]) + "\n")
    return folder


def start_config(folder, workdir, first, **settings):
    """Settings without those of the network, which are the start's."""
    config = small_config(folder, workdir, start_from=str(first), **settings)
    defaults = {name: getattr(TrainConfig(), name) for name in ("backbone", "embedding_size")}
    return dataclasses.replace(config, **{k: v for k, v in defaults.items() if k not in settings})


def exported(workdir):
    """The arrays of the exported network."""
    return [v.numpy() for v in tf.saved_model.load(str(workdir / "export")).weights]


@pytest.mark.slow
def test_a_run_leaves_its_network_and_class_weights(first, records_folder):
    network = keras.models.load_model(first / "network.keras", compile=False)
    for array, weight in zip(exported(first), network.weights, strict=True):
        np.testing.assert_array_equal(array, weight)
    assert read_class_weights(first / "head.weights.h5", 16, 5)["kernel"].shape == (16, 5)
    assert read_labels(first) == read_labels(records_folder)


def frozen_rate(**settings):
    """Settings with which nothing moves."""
    return {"learning_rate": 0.0, "total_steps": 1, **settings}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "new_classes"), [("", "mean"), ("export", "random"), ("network.keras", "mean")]
)
def test_a_run_gives_network_and_class_weights(first, new_records, tmp_path, part, new_classes):
    # With the same seed new class weights would start as those of the first run did.
    settings = frozen_rate(seed=7, new_classes=new_classes)
    config = start_config(new_records, tmp_path / "run", first / part, **settings)
    train(config)
    saved = read_config(TrainConfig, tmp_path / "run" / "config.yaml")
    assert (saved.backbone, saved.width, saved.embedding_size) == ("sphereface4", 0.05, 16)
    for array, before in zip(exported(tmp_path / "run"), exported(first), strict=True):
        np.testing.assert_array_equal(array, before)
    before, after = (
        read_class_weights(folder / "head.weights.h5", 16, 5)["kernel"]
        for folder in (first, tmp_path / "run")
    )
    np.testing.assert_array_equal(after[:, :2], before[:, :2])
    assert np.abs(after[:, 2:] - before[:, 2:]).max() > 0.01
    lengths = np.linalg.norm(after[:, 2:], axis=0)
    assert np.allclose(lengths, 1.0, atol=1e-6) == (new_classes == "mean")
    beginning = json.loads((tmp_path / "run" / "start.json").read_text())
    counts = {name: beginning["classes"][name] for name in ("kept", "new", "left_out")}
    assert counts == {"kept": 2, "new": 3, "left_out": 3}
    means = " (from the mean of their faces)" if new_classes == "mean" else ""
    text = (tmp_path / "run" / "summary.md").read_text()
    assert f"2 kept by name, 3 new{means}; 3 of the start left out" in text


@pytest.mark.slow
def test_a_copied_export_gives_the_network_that_is_named(first, new_records, tmp_path):
    export = shutil.copytree(first / "export", tmp_path / "elsewhere")
    config = start_config(new_records, tmp_path / "run", export, **SMALL_NETWORK, **frozen_rate())
    train(config)
    for array, before in zip(exported(tmp_path / "run"), exported(first), strict=True):
        np.testing.assert_array_equal(array, before)
    with pytest.raises(ValueError, match=r"(?s)`start_from`.*sphereface20 here.*14 arrays"):
        train(start_config(new_records, tmp_path / "other", export))


def classifier(path):
    """A .keras file of a network with batch normalization and a head."""
    image = keras.Input((28, 24, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm", trainable=False)(x)
    x = keras.layers.Dense(8, name="embedding")(keras.layers.Flatten()(x))
    keras.Model(image, ASoftmax(3)(x), name="mine").save(path)
    return keras.Model(image, x)


@pytest.mark.slow
def test_a_keras_file_gives_its_network_and_is_needed_no_more(new_records, tmp_path):
    body = classifier(tmp_path / "model.keras")
    config = start_config(new_records, tmp_path / "run", tmp_path / "model.keras", total_steps=4)
    train(config, callbacks=[StopAfter(2)])
    (tmp_path / "model.keras").unlink()
    check_train(config)  # as the command does first
    train(config)
    saved = read_config(TrainConfig, tmp_path / "run" / "config.yaml")
    assert (saved.backbone, saved.embedding_size) == ("start:mine", 8)
    network = load_backbone(tmp_path / "run" / "network.keras")
    changed = {
        layer.name: not np.array_equal(layer.get_weights()[0], old.get_weights()[0])
        for layer, old in zip(network.layers, body.layers, strict=True)
        if layer.weights
    }
    # What was frozen where it was saved is trained.
    assert changed == {"conv": True, "norm": True, "embedding": True}
    # And from this run the next one.
    settings = frozen_rate(hold_batch_norm=True)
    train(start_config(new_records, tmp_path / "next", tmp_path / "run", **settings))
    np.testing.assert_allclose(
        load_backbone(tmp_path / "next" / "network.keras")(IMAGES), network(IMAGES), atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_that_goes_on_continues_exactly(first, new_records, tmp_path, optimizer):
    settings = {"optimizer": optimizer, "freeze_stages": 1, "layer_decay": 0.5, "ema": 0.9}
    whole = start_config(new_records, tmp_path / "whole", first, **settings)
    train(whole)
    parts = dataclasses.replace(whole, workdir=str(tmp_path / "parts"))
    train(parts, callbacks=[StopAfter(3)])
    train(parts)
    assert_same_state(state(tmp_path / "whole", 6), state(tmp_path / "parts", 6), 0.0)
    import pandas as pd

    logs = [pd.read_csv(tmp_path / name / "log.csv")[SAME_COLUMNS] for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*logs)


@pytest.mark.slow
def test_frozen_stages_stay_and_lower_ones_move_less(first, new_records, tmp_path):
    def moved(name, **settings):
        settings |= {"total_steps": 1, "weight_decay": 0.0, "schedule": "constant"}
        train(start_config(new_records, tmp_path / name, first, **settings))
        arrays = zip(exported(tmp_path / name), exported(first), strict=True)
        return [float(np.abs(after - before).max()) for after, before in arrays]

    # Kernels are at 0, 3, 6, 9 and 12: a stage each.
    plain, frozen, slow = moved("plain"), moved("frozen", freeze_stages=2), None
    assert all(change == 0 for change in frozen[:6])
    np.testing.assert_allclose(frozen[6:], plain[6:], rtol=1e-6)
    slow = moved("slow", layer_decay=0.5)
    np.testing.assert_allclose(np.array(slow) / plain, np.repeat([1, 2, 4, 8, 16], 3)[:14] / 16,
                               rtol=1e-2)  # fmt: skip


@pytest.mark.slow
def test_the_old_test_set_is_evaluated_before_and_after(first, new_records, tmp_path):
    settings = {"total_steps": 4, "learning_rate": 0.1, "schedule": "constant"}
    config = start_config(new_records, tmp_path / "run", first, **settings)
    train(config, callbacks=[StopAfter(2)])
    train(config)
    result = json.loads((tmp_path / "run" / "forgetting.json").read_text())
    with open(first / "verification.csv") as file:
        names, row = (line.strip().split(",") for line in file)
    verified = dict(zip(names, row, strict=True))
    assert result["before"]["auc"] == pytest.approx(float(verified["auc"]))
    assert result["before"]["accuracy_mean"] == pytest.approx(float(verified["accuracy_mean"]))
    difference = {row["measure"]: row for row in result["differences"]}["auc"]
    change = result["after"]["auc"] - result["before"]["auc"]
    assert difference["difference"] == pytest.approx(change)
    assert change != 0
    assert difference["interval"]["low"] <= change <= difference["interval"]["high"]
    text = (tmp_path / "run" / "summary.md").read_text()
    assert "## What was forgotten" in text
    assert f"| {result['before']['auc']:.4f} | {result['after']['auc']:.4f} |" in text


@pytest.mark.slow
def test_an_old_test_set_that_is_gone_is_left_out(first, new_records, tmp_path, caplog):
    moved = shutil.copytree(first, tmp_path / "first")
    text = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(text.replace("pairs.txt", "gone.txt"))
    train(start_config(new_records, tmp_path / "run", moved, **frozen_rate()))
    assert "The old test set is left out" in caplog.text
    assert not (tmp_path / "run" / "forgetting.json").exists()


@pytest.mark.slow
def test_the_network_of_the_start_is_not_replaced(first, new_records, tmp_path):
    for settings, words in (
        ({"embedding_size": 8}, "embedding_size=8, and 16 in the start"),
        ({"backbone": "sphereface10"}, "backbone='sphereface10', and 'sphereface4' in the start"),
    ):
        with pytest.raises(ValueError, match=words):
            train(start_config(new_records, tmp_path / "run", first, **settings))


@pytest.mark.slow
def test_images_of_another_size_are_refused(first, records_folder, tmp_path, faces):
    from tests.conftest import convert_training_identities

    folder = convert_training_identities(faces, tmp_path / "records", 1, height=48, width=48)
    with pytest.raises(ValueError, match="images of 48 x 48 here, of 28 x 24 there"):
        train(start_config(folder, tmp_path / "run", first))
    classifier(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"images of 28 x 24.*Received: images of 48 x 48"):
        train(start_config(folder, tmp_path / "file", tmp_path / "model.keras"))


def test_weights_that_fit_images_of_two_sizes_warn(caplog):
    start = StartingPoint(
        Path("run"),
        sphereface4(input_shape=(32, 32, 3), embedding_size=8, width=0.05).get_weights(),
        (32, 32),
        8,
    )
    network = sphereface4(input_shape=(28, 24, 3), embedding_size=8, width=0.05)
    start.give_weights(network)
    assert "images of 28 x 24 here, and took images of 32 x 32 before" in caplog.text
    np.testing.assert_array_equal(network.get_weights()[0], start.weights[0])


@pytest.mark.slow
def test_another_precision_than_that_of_the_file_is_refused(new_records, tmp_path):
    classifier(tmp_path / "model.keras")
    config = start_config(
        new_records, tmp_path / "run", tmp_path / "model.keras", precision="mixed_bfloat16"
    )
    with pytest.raises(ValueError, match=r"computes in float32\. Received: precision=mixed"):
        train(config)


@pytest.mark.slow
def test_a_savedmodel_without_its_weights_in_order_is_refused(tmp_path):
    module = tf.Module()
    module.serve = tf.function(lambda images: images, input_signature=[tf.TensorSpec((None,))])
    tf.saved_model.save(module, str(tmp_path / "foreign"))
    with pytest.raises(ValueError, match=r"only if this package wrote it.*Received: "):
        read_starting_point(tmp_path / "foreign")


def test_a_network_that_keras_cannot_write_is_said(tmp_path, caplog):
    from keras_sphereface.training.starting_point import save_network

    class Unwritable(keras.Model):
        def call(self, images):
            return images

        def get_config(self):
            raise NotImplementedError("no configuration")

    network = Unwritable()
    network(np.ones((1, 3)))
    assert save_network(tmp_path, network) is None
    assert "network.keras is left out" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze_stages": 1}, "needs a trained network: `start_from`"),
        ({"hold_batch_norm": True}, "Received: hold_batch_norm=True"),
        ({"layer_decay": 0.0}, "Received: layer_decay=0.0"),
        ({"layer_decay": 1.5}, "Received: layer_decay=1.5"),
        ({"old_bin": "a.bin"}, "needs `start_from`. Received: start_from=''"),
        ({"old_images": "images", "start_from": "run"}, "both `old_images` and `old_pairs`"),
        ({"backbone": "start:mine"}, "needs `start_from`, the file"),
        ({"start_from": "no-such-folder"}, "no-such-folder, which does not exist"),
        ({"start_from": "tests"}, "must be the folder of a run"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(new_records, tmp_path, settings, message):
    settings = {"backbone": "sphereface4", **settings}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(small_config(new_records, tmp_path, **settings))


@pytest.mark.slow
def test_a_run_that_has_not_ended_is_no_start(records_folder, tmp_path):
    config = small_config(records_folder, tmp_path / "run")

    class Crash(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        train(config, callbacks=[Crash()])
    with pytest.raises(ValueError, match="a run that has not ended: the same sphereface train"):
        read_starting_point(tmp_path / "run")


def test_a_file_gives_its_weights_to_a_network_that_is_named():
    settings = {"backbone": "start:mine", "width": 1.0, "embedding_size": 8, "input_range": "unit"}
    taken = take_network_settings(TrainConfig(), settings)
    assert (taken.backbone, taken.embedding_size) == ("start:mine", 8)
    named = take_network_settings(TrainConfig(backbone="sphereface4", width=0.5), settings)
    assert (named.backbone, named.width, named.embedding_size) == ("sphereface4", 0.5, 8)
    with pytest.raises(ValueError, match="embedding_size=16, and 8 in the start"):
        take_network_settings(TrainConfig(embedding_size=16), settings)
