"""Training on records: it learns, logs, and resumes exactly."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.parsing import read_config
from keras_sphereface.data import records
from keras_sphereface.training import build_head, run_config, trainer
from keras_sphereface.training.train import train
from keras_sphereface.training.training_log import LOG_FIELDS
from keras_sphereface.utils import compat
from tests.helpers.small_training import SMALL, small_config


def checkpoints(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def weights(workdir):
    """The embeddings of a fixed image by the exported network."""
    image = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
    signature = tf.saved_model.load(str(workdir / "export")).signatures["serving_default"]
    return signature(images=tf.constant(image))["embeddings"].numpy()


def test_train_leaves_export_checkpoints_log_and_settings(records_folder, tmp_path):
    export = train(small_config(records_folder, tmp_path))
    assert export == tmp_path / "export"
    assert weights(tmp_path).shape == (2, 16)
    log = pd.read_csv(tmp_path / "log.csv")
    assert tuple(log.columns) == LOG_FIELDS
    assert log["step"].tolist() == [2, 4, 6]
    # Lambda is the mean over the steps of a row.
    expected = np.mean([1000 / (1 + 0.12 * step) for step in (5, 6)])
    assert log["annealing_lambda"].iloc[-1] == pytest.approx(expected, rel=1e-4)
    assert log["learning_rate"].tolist() == pytest.approx([1e-2, 1e-3, 1e-4])
    assert log["target_angle"].between(45, 135).all()
    assert read_config(TrainConfig, tmp_path / "config.yaml") == small_config(
        records_folder, tmp_path
    )
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert checkpoints(tmp_path) == ["step-00000004", "step-00000006"]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["asoftmax", "softmax"])
def test_loss_falls_and_accuracy_rises(records_folder, tmp_path, head):
    settings = {"width": 0.2, "optimizer": "adam", "learning_rate": 1e-3, "log_steps": 20}
    train(
        small_config(records_folder, tmp_path, head=head, total_steps=80, batch_size=15, **settings)
    )
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]
    assert log["accuracy"].iloc[-1] > 0.8
    assert log["target_angle"].iloc[-1] < log["target_angle"].iloc[0]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_trained(records_folder, tmp_path, head):
    settings = {} if "triplet" in head else {"block_size": 3, "sample_rate": 0.9}
    settings |= {"images_per_identity": 2} if HEADS[head].images_per_identity else {}
    train(small_config(records_folder, tmp_path, head=head, **settings))
    log = pd.read_csv(tmp_path / "log.csv")
    assert np.isfinite(log["loss"]).all()
    assert log["target_angle"].between(0, 180).all()
    assert log["accuracy"].between(0, 1).all()


def test_settings_of_the_head_reach_it():
    settings = {"m": 3.0, "margin_warmup_steps": 7, "kernel_norm": "projected", "gradient": "caffe"}
    head = build_head.head_of(TrainConfig(**settings, block_size=4, sample_rate=0.5, seed=2), 10)
    assert (head.m, head.annealing.margin_warmup_steps, head.kernel_norm) == (3, 7, "projected")
    assert (head.gradient, head.block_size, head.sample_rate, head.seed) == ("caffe", 4, 0.5, 2)
    r = build_head.head_of(TrainConfig(head="sphereface-r-v2", m=1.4, embedding_norm="soft"), 10)
    assert (r.m, r.version, r.embedding_norm, r.gradient) == (1.4, "v2", "soft", "detached")
    assert build_head.head_of(TrainConfig(head="arcface", scale=32.0), 10).scale == 32.0


def test_a_warm_start_is_seen_in_the_log(records_folder, tmp_path):
    train(small_config(records_folder, tmp_path, margin_warmup_steps=2))
    lambdas = pd.read_csv(tmp_path / "log.csv")["annealing_lambda"]
    assert np.isposinf(lambdas[0])
    expected = np.mean([1000 / (1 + 0.12 * step) for step in (1, 2)])
    assert lambdas[1] == pytest.approx(expected, rel=1e-4)


def test_a_run_that_learns_nothing_says_so(records_folder, tmp_path, capfd):
    settings = {"learning_rate": 0.0, "total_steps": 210, "log_steps": 10}
    settings |= {"checkpoint_steps": 210, "base": 0.0, "lambda_min": 0.0, "width": 0.02}

    def zeros(input_shape, embedding_size, seed):
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.AveragePooling2D(16),
                keras.layers.Flatten(),
                keras.layers.Dense(embedding_size, kernel_initializer="zeros"),
            ]
        )

    train(small_config(records_folder, tmp_path, **settings), zeros)
    error = capfd.readouterr().err
    assert error.count("stayed at ln C = 1.61 for 200 steps") == 1


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 4:
            raise KeyboardInterrupt


def test_a_continued_run_equals_an_uninterrupted_one(records_folder, tmp_path):
    train(small_config(records_folder, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train(small_config(records_folder, tmp_path / "stopped"), callbacks=[Interrupt()])
    assert not (tmp_path / "stopped" / "export").exists()
    train(small_config(records_folder, tmp_path / "stopped"))
    np.testing.assert_array_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
    logs = [pd.read_csv(tmp_path / name / "log.csv") for name in ("whole", "stopped")]
    same = [name for name in LOG_FIELDS if name != "images_per_second"]
    pd.testing.assert_frame_equal(logs[0][same], logs[1][same])


def test_a_finished_run_is_exported_again_and_not_trained_on(records_folder, tmp_path):
    train(small_config(records_folder, tmp_path))
    before = weights(tmp_path)
    train(small_config(records_folder, tmp_path))
    np.testing.assert_array_equal(weights(tmp_path), before)


def test_a_workdir_of_other_settings_is_refused(records_folder, tmp_path):
    train(small_config(records_folder, tmp_path))
    with pytest.raises(ValueError, match="Received: m: None before, 3 now"):
        train(small_config(records_folder, tmp_path, m=3))


def test_a_run_that_began_with_the_other_keras_is_refused(records_folder, tmp_path):
    train(small_config(records_folder, tmp_path))
    path = tmp_path / "run.json"
    run = json.loads(path.read_text())
    run["starts"][-1]["versions"]["keras"] = "2.15.0" if compat.KERAS_3 else "3.15.1"
    path.write_text(json.dumps(run))
    with pytest.raises(ValueError, match=r"`.weights.h5`. Received: keras=[23].15.[01] before"):
        train(small_config(records_folder, tmp_path))


def test_the_same_seed_gives_the_same_network_and_another_seed_another(records_folder, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(small_config(records_folder, tmp_path / name, total_steps=2, seed=seed))
    np.testing.assert_array_equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert np.any(weights(tmp_path / "a") != weights(tmp_path / "c"))


def test_a_network_of_the_users_own_is_trained(records_folder, tmp_path):
    def backbone(input_shape, embedding_size, seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.Input(input_shape),
                keras.layers.Conv2D(4, 5, strides=4, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(embedding_size),
            ]
        )

    train(small_config(records_folder, tmp_path), backbone)
    assert weights(tmp_path).shape == (2, 16)


def test_regularisers_of_a_network_of_the_users_own_count(records_folder, tmp_path):
    def backbone(strength):
        def build(input_shape, embedding_size, seed):
            keras.utils.set_random_seed(seed)
            regularizer = keras.regularizers.L2(strength)
            return keras.Sequential(
                [
                    keras.Input(input_shape),
                    keras.layers.GlobalAveragePooling2D(),
                    keras.layers.Dense(embedding_size, kernel_regularizer=regularizer),
                ]
            )

        return build

    for name, strength in (("a", 0.0), ("b", 1.0)):
        train(small_config(records_folder, tmp_path / name), backbone(strength))
    assert np.abs(weights(tmp_path / "b")).max() < 0.99 * np.abs(weights(tmp_path / "a")).max()


def test_moved_records_continue_and_other_records_do_not(records_folder, tmp_path):
    shutil.copytree(records_folder, tmp_path / "moved")
    train(small_config(records_folder, tmp_path / "run"))
    train(small_config(tmp_path / "moved", tmp_path / "run"))
    info = json.loads((tmp_path / "moved" / "dataset.json").read_text())
    info["shards"][0]["sha256"] = "0" * 64
    (tmp_path / "moved" / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="data_checksum"):
        train(small_config(tmp_path / "moved", tmp_path / "run"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet"}, "Received: backbone='resnet'"),
        ({"backbone": "absent_module:network"}, "Received: backbone='absent_module:network'"),
        ({"backbone": "math:network"}, "Received: backbone='math:network'"),
        ({"head": "sofmax"}, "Received: head='sofmax'"),
        ({"learning_rate": float("nan")}, "Received: learning_rate=nan"),
        ({"zoom": 1.5}, "Received: zoom=1.5"),
        ({"erase": 3.0}, "Received: erase=3.0"),
        ({"batch_size": 0}, "Received: batch_size=0"),
        ({"batch_size": 31}, "Received: batch_size=31"),
        ({"log_steps": 0}, "Received: log_steps=0"),
        ({"weight_decay": -1.0}, "Received: weight_decay=-1.0"),
        ({"m": 0}, "Received: m=0"),
        ({"head": "softmax", "m": 4}, "The head softmax has no `m`"),
        (
            {"head": "cosface", "margin_warmup_steps": 5},
            "The head cosface has no `margin_warmup_steps`",
        ),
        ({"sample_rate": 0.0}, "Received: sample_rate=0.0"),
        ({"gradient": "excat"}, "Received: gradient='excat'"),
    ],
)
def test_bad_settings_are_refused(records_folder, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train(small_config(records_folder, tmp_path, **settings))
    # Nothing of it stands in the way of the next try.
    train(small_config(records_folder, tmp_path, total_steps=1))


def test_divergence_ends_the_run_and_says_what_helps(records_folder, tmp_path):
    with pytest.raises(FloatingPointError, match="A lower learning rate"):
        train(small_config(records_folder, tmp_path, learning_rate=1e9))
    assert not (tmp_path / "export").exists()


def test_a_diverged_run_leaves_no_checkpoint_to_continue_from(records_folder, tmp_path):
    settings = {"learning_rate": 1e9, "log_steps": 6, "checkpoint_steps": 4}
    with pytest.raises(FloatingPointError, match="at step 4"):
        train(small_config(records_folder, tmp_path, **settings))
    assert checkpoints(tmp_path) == ["step-00000000"]
    # It stands in nobody's way.
    train(small_config(records_folder, tmp_path, total_steps=1))


def test_epochs_count_passes_over_the_data():
    steps = run_config.planned_steps(TrainConfig(batch_size=10, epochs=2.5), num_images=30)
    assert steps == 8


def test_decay_spares_biases_and_biases_learn_at_twice_the_rate():
    kernel, bias = tf.Variable([3.0], name="kernel"), tf.Variable([3.0], name="fc1/bias")
    gradients = trainer.solver_gradients([tf.constant([1.0])] * 2, [kernel, bias], 0.1)
    np.testing.assert_allclose([g.numpy()[0] for g in gradients], [1.3, 2.0], rtol=1e-6)


def test_a_batch_that_does_not_split_is_refused(records_folder, monkeypatch):
    info = records.read_info(records_folder)
    monkeypatch.setattr(tf.distribute.MirroredStrategy, "num_replicas_in_sync", 4)
    with pytest.raises(ValueError, match=r"over 4 devices and 1 parts.*Received: batch_size=6"):
        trainer.make_trainer(TrainConfig(**SMALL), info, 6, tf.distribute.MirroredStrategy())
