"""The settings of a run: refused before it begins, kept beside it, compared when it continues."""

import dataclasses
import hashlib
import json
import pathlib
import platform
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.config.settings_files import read_config, save_config
from keras_sphereface.data import records
from keras_sphereface.training.build import build_trainer
from keras_sphereface.training.run_config import complete_settings, planned_steps
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.train import train
from keras_sphereface.utils import atomic, compat
from keras_sphereface.version import __version__
from tests.helpers.small_training import (
    SMALL,
    StopAfter,
    assert_same_state,
    checkpoint,
    small_config,
    state,
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet"}, "Received: backbone='resnet'"),
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
        ({"jit": True, "shard_classes": True}, "Received: jit=True, shard_classes=True"),
        ({"verify_steps": 2}, "belong together. Received: verify_steps=2"),
        ({"verify_steps": 2, "verify_pairs": "pairs.txt"}, "verify_pairs='pairs.txt'"),
        ({"verify_steps": 2, "verify_images": "images"}, "verify_images='images'"),
        ({"verify_images": "images", "verify_pairs": "pairs.txt"}, "verify_steps=0"),
        ({"verify_bin": "faces.bin"}, "verify_bin='faces.bin'"),
        ({"verify_steps": -1}, "Received: verify_steps=-1"),
        ({"accumulate_steps": 0}, "Received: accumulate_steps=0"),
        ({"accumulate_steps": 4}, "`accumulate_steps`, 1 x 4. Received: batch_size=6"),
        ({"checkpoint_steps": 0}, "Received: checkpoint_steps=0"),
        ({"total_steps": 0}, "Received: total_steps=0"),
        ({"lr_warmup_steps": -1}, "Received: lr_warmup_steps=-1"),
        ({"clipnorm": -1.0}, "Received: clipnorm=-1.0"),
        ({"clipnorm": float("inf")}, "Received: clipnorm=inf"),
        ({"ema": 1.0}, "Received: ema=1.0"),
        ({"momentum": 1.0}, "Received: momentum=1.0"),
        ({"schedule": "linear"}, "Received: schedule='linear'"),
        ({"optimizer": "adamw"}, "Received: optimizer='adamw'"),
        ({"precision": "float16"}, "Received: precision='float16'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    records_folder, tmp_path, settings, message
):
    with pytest.raises(ValueError, match=message):
        train(small_config(records_folder, tmp_path, **settings))
    left = {path.name for path in tmp_path.rglob("*.*")}
    assert not left or "batch_size" in settings


def test_a_batch_that_does_not_split_over_the_devices_is_refused(records_folder, monkeypatch):
    info = records.read_info(records_folder)
    monkeypatch.setattr(tf.distribute.MirroredStrategy, "num_replicas_in_sync", 4)
    with pytest.raises(ValueError, match=r"`accumulate_steps`, 4 x 1\. Received: batch_size=6"):
        build_trainer(TrainConfig(**SMALL), info, tf.distribute.MirroredStrategy())


def test_epochs_count_passes_over_the_data():
    assert planned_steps(TrainConfig(batch_size=10, epochs=2.5), num_images=30) == 8
    assert planned_steps(TrainConfig(total_steps=7), num_images=30) == 7


def test_what_is_not_set_follows_from_the_size_of_the_run(records_folder, tmp_path):
    info = records.read_info(records_folder)
    config = complete_settings(TrainConfig(workdir=str(tmp_path), epochs=20, batch_size=15), info)
    # 30 images: 40 steps, and 22 of them before the rate drops.
    assert (config.learning_rate, config.lr_warmup_steps, config.clipnorm) == (0.1, 2, 1.0)
    assert config.gamma == pytest.approx(199 / 22, rel=1e-5)


@pytest.mark.parametrize("step", [0, 2])
def test_a_run_that_goes_on_keeps_what_it_began_with(records_folder, tmp_path, step):
    info = records.read_info(records_folder)
    before = TrainConfig(workdir=str(tmp_path), learning_rate=0.3, clipnorm=9.0, gamma=0.7)
    save_config(dataclasses.replace(before, lr_warmup_steps=4), tmp_path / "config.yaml")
    checkpoint(tmp_path, step).mkdir(parents=True)
    config = complete_settings(TrainConfig(workdir=str(tmp_path), clipnorm=5.0), info)
    assert config.clipnorm == 5.0  # set, so it is compared with the run, and refused
    expected = (0.3, 4, 0.7) if step else (0.1, 1000, 0.12)
    assert (config.learning_rate, config.lr_warmup_steps, config.gamma) == expected


class NeverTrained(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        pytest.fail("the training began")


@pytest.mark.parametrize("below", [(), ("run",), ("deep", "run")])
def test_a_workdir_that_cannot_be_is_named_before_training(records_folder, tmp_path, below):
    (tmp_path / "file").write_text("an earlier file")
    workdir = tmp_path.joinpath("file", *below)
    with pytest.raises(OSError, match="`workdir` cannot be written to") as refused:
        train(small_config(records_folder, workdir), callbacks=[NeverTrained()])
    assert str(workdir) in str(refused.value)
    assert (tmp_path / "file").read_text() == "an earlier file"


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_full_disk_is_reported_before_training(records_folder, tmp_path, monkeypatch):
    settings = {"embedding_size": 2_000, "total_steps": 1}
    train(small_config(records_folder, tmp_path / "measured", **settings))
    kept = checkpoint(tmp_path / "measured", 1)
    size = sum(path.stat().st_size for path in kept.iterdir())
    usage = shutil.disk_usage(tmp_path)

    def set_free(amount):
        # A small file system cannot be mounted wherever tests run.
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(amount)))

    # Two are kept, a third is there while it is written, and there is the export.
    set_free(0.95 * 4 * size)
    config = small_config(records_folder, tmp_path / "run", **settings)
    with pytest.raises(atomic.DiskSpaceError, match=r"About 0\.01 GB are needed") as refused:
        train(config, callbacks=[NeverTrained()])
    assert str(tmp_path / "run") in str(refused.value)
    assert not (tmp_path / "run" / "checkpoints").exists()
    set_free(1.05 * 4 * size)
    train(config)
    assert checkpoint(tmp_path / "run", 1).is_dir()


@pytest.fixture(scope="module")
def finished(records_folder, tmp_path_factory):
    """The folder of a run of two steps that has ended."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train(small_config(records_folder, workdir, total_steps=2))
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.slow
def test_a_run_keeps_its_settings_and_how_it_was_made(finished, records_folder):
    assert read_config(TrainConfig, finished / "config.yaml") == small_config(
        records_folder, finished, total_steps=2, input_range="unit", bias_rule="plain"
    )
    info = json.loads((records_folder / "dataset.json").read_text())
    joined = "".join(shard["sha256"] for shard in info["shards"])
    checksum = hashlib.sha256(joined.encode()).hexdigest()
    run = json.loads((finished / "run.json").read_text())
    assert run["data_checksum"] == checksum
    assert run["starts"] == [
        {
            "step": 0,
            "total_steps": 2,
            "devices": 1,
            "workers": 1,
            "versions": {
                "keras_sphereface": __version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }
    ]
    assert checksum in (finished / "summary.md").read_text()


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("*")}


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_finished_run_is_exported_again_and_not_trained_further(records_folder, workdir):
    shutil.rmtree(workdir / "export")
    before = tree(workdir)
    config = small_config(records_folder, workdir, total_steps=2)
    train(config, callbacks=[NeverTrained()])
    assert (workdir / "export").is_dir()
    assert tree(workdir) == before
    starts = json.loads((workdir / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 2]


@pytest.mark.slow
def test_a_workdir_of_other_settings_is_refused(records_folder, workdir):
    with pytest.raises(ValueError, match="Received: m: None before, 3 now"):
        train(small_config(records_folder, workdir, total_steps=2, m=3))


@pytest.mark.slow
def test_a_run_that_began_with_the_other_keras_is_refused(records_folder, workdir):
    path = workdir / "run.json"
    run = json.loads(path.read_text())
    run["starts"][-1]["versions"]["keras"] = "2.15.0" if compat.KERAS_3 else "3.15.1"
    path.write_text(json.dumps(run))
    with pytest.raises(ValueError, match=r"`.weights.h5`. Received: keras=[23].15.[01] before"):
        train(small_config(records_folder, workdir, total_steps=2))


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_moved_records_continue_and_other_records_do_not(records_folder, workdir, tmp_path):
    moved = shutil.copytree(records_folder, tmp_path / "moved")
    train(small_config(moved, workdir, total_steps=2))
    info = json.loads((moved / "dataset.json").read_text())
    info["shards"][0]["sha256"] = "0" * 64
    (moved / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="data_checksum"):
        train(small_config(moved, workdir, total_steps=2))


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_settings_that_cannot_be_written_do_not_end_a_run_for_good(
    records_folder, tmp_path, monkeypatch
):
    config = small_config(records_folder, tmp_path)
    train(config, callbacks=[StopAfter(3)])
    write = pathlib.Path.write_text

    def fail(path, text, encoding):
        # As on a disk that is full: the old content is gone, the new one is not there.
        write(path, text[:10], encoding=encoding)
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        train(config)
    monkeypatch.setattr(pathlib.Path, "write_text", write)
    train(config)
    assert checkpoint(tmp_path, 6).is_dir()


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_run_of_a_constant_rate_goes_on_as_a_longer_one_from_the_start(records_folder, tmp_path):
    settings = {"schedule": "constant", "total_steps": 6}
    train(small_config(records_folder, tmp_path / "long", **settings))
    for steps in (2, 4, 6):
        train(
            small_config(records_folder, tmp_path / "raised", **{**settings, "total_steps": steps})
        )
    assert_same_state(state(tmp_path / "long", 6), state(tmp_path / "raised", 6), 0.0)
    starts = json.loads((tmp_path / "raised" / "run.json").read_text())["starts"]
    assert [(start["step"], start["total_steps"]) for start in starts] == [(0, 2), (2, 4), (4, 6)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_export")
def test_a_longer_run_has_the_rates_of_its_length_from_there_on(records_folder, tmp_path):
    settings = {
        "log_steps": 1,
        "schedule": "cosine",
        "learning_rate": None,
        "lr_warmup_steps": None,
    }
    train(small_config(records_folder, tmp_path, **settings, total_steps=3))
    longer = {**settings, "epochs": 8 / 5}  # of 5 steps
    train(small_config(records_folder, tmp_path, **longer, total_steps=3), callbacks=[StopAfter(5)])
    train(small_config(records_folder, tmp_path, **longer, total_steps=3))
    rates = pd.read_csv(tmp_path / "log.csv")["learning_rate"]
    short, long = (LearningRate(0.1, steps, "cosine", 0) for steps in (3, 8))
    expected = [short(i) for i in range(3)] + [long(i) for i in range(3, 8)]
    np.testing.assert_allclose(rates, [float(rate) for rate in expected], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"total_steps": 1}, {"epochs": 0.2}])
def test_a_run_cannot_be_made_shorter(records_folder, workdir, settings):
    with pytest.raises(ValueError, match=r"can only be raised.*Received: 2 steps before, 1 now"):
        train(small_config(records_folder, workdir, **{"total_steps": 2, **settings}))
