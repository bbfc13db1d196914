"""Training on records: it learns, leaves what it should, and continues exactly."""

import json
import re
import shlex
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.config import EvaluateConfig, TrainConfig
from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.data import images
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.training.build_head import head_of
from keras_sphereface.training.logging import LOG_FIELDS
from keras_sphereface.training.train import train
from keras_sphereface.utils import compat
from tests.conftest import OLD_FILES
from tests.helpers.small_training import (
    SAME_COLUMNS,
    one_layer,
    penalized,
    small_config,
    trained_in_memory,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 24, 3), dtype=np.uint8)


def embeddings(workdir):
    """The embeddings of fixed images by the exported network."""
    signature = tf.saved_model.load(str(workdir / "export")).signatures["serving_default"]
    return signature(images=tf.constant(IMAGES))["embeddings"].numpy()


def commands(workdir):
    """The words of the commands in the summary."""
    text = (workdir / "summary.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)\n```$", text, re.M | re.S)
    return [shlex.split(command) for command in blocks]


@pytest.fixture(scope="module")
def network_run(records_folder, tmp_path_factory):
    """A run of a network of the paper."""
    workdir = tmp_path_factory.mktemp("network") / "a run"
    settings = {"backbone": "sphereface4", "width": 0.05, "seed": 5}
    export = train(small_config(records_folder, workdir, **settings))
    assert export == workdir / "export"
    return workdir


@pytest.mark.slow
def test_a_run_leaves_export_checkpoints_log_and_curves(network_run):
    assert embeddings(network_run).shape == (2, 16)
    log = pd.read_csv(network_run / "log.csv")
    assert tuple(log.columns) == LOG_FIELDS
    assert log["step"].tolist() == [2, 4, 6]
    # Lambda is the mean over the steps of a row.
    expected = np.mean([1000 / (1 + 0.12 * step) for step in (5, 6)])
    assert log["annealing_lambda"].iloc[-1] == pytest.approx(expected, rel=1e-4)
    assert log["learning_rate"].tolist() == pytest.approx([1e-2, 1e-3, 1e-4])
    assert log["target_angle"].between(45, 135).all()
    assert list((network_run / "tensorboard").glob("events*"))
    checkpoints = sorted(path.name for path in (network_run / "checkpoints").iterdir())
    assert checkpoints == ["step-00000004", "step-00000006"]
    assert images.decode((network_run / "curves.png").read_bytes()).std() > 10


@pytest.mark.slow
def test_the_command_that_repeats_a_run_has_its_settings(network_run, records_folder):
    _, repeat = commands(network_run)
    assert repeat[:2] == ["sphereface", "train"]
    settings = {"backbone": "sphereface4", "width": 0.05, "seed": 5}
    settings |= {"input_range": "unit", "bias_rule": "caffe"}
    expected = small_config(records_folder, network_run, **settings)
    assert parse_config(TrainConfig, repeat[2:]) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("head", ["asoftmax", "softmax"])
def test_loss_falls_and_accuracy_rises(records_folder, tmp_path, head):
    settings = {"optimizer": "adam", "learning_rate": 1e-2, "log_steps": 20, "shift": 0.0}
    config = small_config(
        records_folder, tmp_path, head=head, total_steps=80, batch_size=15, **settings
    )
    train(config)
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]
    assert log["accuracy"].iloc[-1] > 0.8
    assert log["target_angle"].iloc[-1] < log["target_angle"].iloc[0]


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_trained(records_folder, tmp_path, head):
    settings = {"block_size": 3, "sample_rate": 0.9} if HEADS[head].has_class_weights else {}
    settings |= {"images_per_identity": 2} if HEADS[head].images_per_identity else {}
    train(small_config(records_folder, tmp_path, head=head, **settings))
    log = pd.read_csv(tmp_path / "log.csv")
    assert np.isfinite(log["loss"]).all()
    assert log["target_angle"].between(0, 180).all()
    assert log["accuracy"].between(0, 1).all()


def test_settings_of_the_head_reach_it():
    settings = {"m": 3.0, "margin_warmup_steps": 7, "kernel_norm": "projected", "gradient": "caffe"}
    head = head_of(TrainConfig(**settings, block_size=4, sample_rate=0.5, seed=2), 10)
    assert (head.m, head.annealing.margin_warmup_steps, head.kernel_norm) == (3, 7, "projected")
    assert (head.gradient, head.block_size, head.sample_rate, head.seed) == ("caffe", 4, 0.5, 2)
    r = head_of(TrainConfig(head="sphereface-r-v2", m=1.4, embedding_norm="soft"), 10)
    assert (r.m, r.version, r.embedding_norm, r.gradient) == (1.4, "v2", "soft", "detached")
    assert head_of(TrainConfig(head="arcface", scale=32.0), 10).scale == 32.0
    auto = head_of(TrainConfig(head="cosface", scale="auto"), 4069)
    assert auto.scale == pytest.approx(11.7534, abs=1e-4)
    assert head_of(TrainConfig(head="subcenter-arcface", num_centers=2), 10).num_centers == 2
    elastic = head_of(TrainConfig(head="elasticface-cos", margin_std=0.1), 10)
    assert (elastic.kind, elastic.m, elastic.margin_std) == ("cos", 0.35, 0.1)
    norms = {"m": 0.3, "m_max": 0.6, "norm_min": 2.0, "norm_max": 9.0, "term_weight": 1.0}
    mag = head_of(TrainConfig(head="magface", **norms), 10)
    assert {name: getattr(mag, name) for name in norms} == norms


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": "cosface", "num_centers": 2}, "The head cosface has no `num_centers`"),
        ({"head": "arcface", "norm_min": 2.0}, "The head arcface has no `norm_min`"),
        ({"head": "adacos", "scale": "auto"}, "The head adacos has no `scale`"),
        ({"head": "circle", "scale": "auto"}, "`scale` must be a number in Circle"),
        ({"head": "magface", "norm_min": 200.0}, "`norm_min` must be below `norm_max`"),
    ],
)
def test_settings_that_a_head_cannot_have_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        head_of(TrainConfig(**settings), 10)


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 4:
            raise KeyboardInterrupt


FULL = pytest.mark.full


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize(
    "head",
    [
        *("asoftmax", "adaface"),  # the latter, and these, keep more of the batches than a step
        *(pytest.param(kind, marks=FULL) for kind in ("curricularface", "adacos")),
        pytest.param("elasticface-arc", marks=FULL),
    ],
)
def test_a_continued_run_equals_an_uninterrupted_one(records_folder, tmp_path, head):
    train(small_config(records_folder, tmp_path / "whole", head=head))
    stopped = small_config(records_folder, tmp_path / "stopped", head=head)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, callbacks=[Interrupt()])
    assert not (tmp_path / "stopped" / "export").exists()
    train(stopped)
    np.testing.assert_array_equal(embeddings(tmp_path / "stopped"), embeddings(tmp_path / "whole"))
    logs = [pd.read_csv(tmp_path / name / "log.csv") for name in ("whole", "stopped")]
    pd.testing.assert_frame_equal(logs[0][SAME_COLUMNS], logs[1][SAME_COLUMNS])


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
@pytest.mark.skipif(not compat.KERAS_3, reason="the old run was made with Keras 3")
def test_a_run_that_an_earlier_version_began_continues(tmp_path):
    workdir = shutil.copytree(OLD_FILES / "workdir", tmp_path / "workdir")
    data = shutil.copytree(OLD_FILES / "records", tmp_path / "records")
    settings = {"backbone": "sphereface4", "width": 0.05, "embedding_size": 8, "batch_size": 4}
    settings |= {"total_steps": 6, "checkpoint_steps": 2, "log_steps": 1, "seed": 3}
    train(TrainConfig(data=str(data), workdir=str(workdir), ema=0.9, schedule="cosine", **settings))
    expected = json.loads((OLD_FILES / "expected.json").read_text())["log"]
    (tmp_path / "expected.csv").write_text(expected)
    log, whole = (pd.read_csv(path) for path in (workdir / "log.csv", tmp_path / "expected.csv"))
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    pd.testing.assert_frame_equal(log[SAME_COLUMNS], whole[SAME_COLUMNS], rtol=1e-4)
    starts = json.loads((workdir / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 2]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network_and_another_seed_another(records_folder):
    kernels = [
        trained_in_memory(records_folder, one_layer, steps=2, seed=seed).backbone.get_weights()[0]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


def convolution(input_shape, embedding_size, seed):
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


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_a_custom_network_is_trained_and_named(records_folder, tmp_path, capfd):
    train(small_config(records_folder, tmp_path, backbone="sphereface20"), convolution)
    assert embeddings(tmp_path).shape == (2, 16)
    summary = (tmp_path / "summary.md").read_text()
    assert "400 weights" in capfd.readouterr().err
    assert "test_train:convolution, 400 weights" in summary
    assert "sphereface20" not in summary


@pytest.mark.slow
def test_regularizers_of_a_custom_network_count(records_folder):
    free, held = (
        np.abs(trained_in_memory(records_folder, backbone).backbone.get_weights()[0])
        for backbone in (one_layer, penalized)
    )
    assert held.mean() < 0.99 * free.mean()


@pytest.fixture(scope="module")
def verified_run(records_folder, verified, tmp_path_factory):
    """A run of averages that are verified, and the words by which it is evaluated."""
    workdir = tmp_path_factory.mktemp("verified")
    # Far from each other, so that averages and weights verify differently.
    settings = {"ema": 0.9, "learning_rate": 1.0, "schedule": "constant"}
    train(small_config(records_folder, workdir, **settings, **verified(4)))
    return workdir, commands(workdir)[0]


@pytest.mark.slow
def test_the_command_that_evaluates_has_model_pairs_and_place(verified_run, faces):
    workdir, words = verified_run
    assert words[:2] == ["sphereface", "evaluate"]
    assert parse_config(EvaluateConfig, words[2:]) == EvaluateConfig(
        model=(str(workdir / "export"),),
        images=(str(faces / "images"),),
        pairs=(str(faces / "pairs.txt"),),
        landmarks=(str(faces / "landmarks.txt"),),
        out=str(workdir / "evaluation"),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_after_training_on_generated_faces_their_own_pairs_are_named(
    records_folder, faces, tmp_path
):
    (tmp_path / "faces").symlink_to(faces)
    (tmp_path / "records").symlink_to(records_folder)
    train(small_config(tmp_path / "records", tmp_path / "run", total_steps=1))
    config = parse_config(EvaluateConfig, commands(tmp_path / "run")[0][2:])
    assert config.pairs == (str(tmp_path / "faces" / "pairs.txt"),)


@pytest.mark.slow
def test_the_last_verification_is_that_of_the_export(verified_run, tmp_path):
    workdir, words = verified_run
    (expected,) = evaluate(parse_config(EvaluateConfig, [*words[2:-1], str(tmp_path)]))
    table = pd.read_csv(workdir / "verification.csv")
    assert table["step"].tolist() == [4, 6]
    for name in ("accuracy_mean", "accuracy_std", "auc", "eer", "num_pairs"):
        assert table[name].iloc[-1] == pytest.approx(
            getattr(expected.verification, name), rel=1e-5
        ), name
