"""What the settings of a training do, one by one, and what a run leaves beside its export."""

import dataclasses
import hashlib
import json
import pathlib
import platform
import re
import shlex
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_sphereface.config import EvaluateConfig, TrainConfig
from keras_sphereface.config.parsing import parse_config, read_config
from keras_sphereface.data import images, records
from keras_sphereface.distribute.strategy import make_strategy
from keras_sphereface.evaluation.evaluate import evaluate as evaluate_config
from keras_sphereface.training import trainer
from keras_sphereface.training.train import evaluate_command, precision
from keras_sphereface.training.train import train as train_config
from keras_sphereface.utils import atomic
from keras_sphereface.version import __version__
from tests.helpers.small_training import checkpoint, one_layer, small_config, state


def network(input_shape, embedding_size, seed):
    """Its weights have no biases."""
    regularizer = keras.regularizers.L2(0.01)
    return one_layer(
        input_shape, embedding_size, seed, use_bias=False, kernel_regularizer=regularizer
    )


def train(folder, workdir, callbacks=(), **settings):
    train_config(small_config(folder, workdir, **settings), network, callbacks)
    return workdir


def trained(workdir, step):
    """The weights of `network`, and those of the classes, at a checkpoint."""
    settings = read_config(TrainConfig, workdir / "config.yaml")
    info = records.read_info(settings.data)
    with precision(settings.precision):
        made = trainer.make_trainer(settings, info, 1, make_strategy(), network)
    kept = {"backbone": made.backbone, "head": made.head, "optimizer": made.optimizer}
    reader = tf.train.Checkpoint(**kept).read(str(checkpoint(workdir, step) / "weights"))
    reader.assert_existing_objects_matched().expect_partial()
    if settings.shard_classes:
        made.split.restore(checkpoint(workdir, step))
        ((_, _, components),) = made.split.local_blocks()
        kernel = components["kernel"]
    else:
        kernel = made.variables[-1]
    return made.backbone.get_weights()[0], kernel.numpy()


def together(arrays):
    return np.concatenate([array.ravel() for array in arrays])


def exported_kernel(workdir):
    """The weights of `network` in its SavedModel."""
    reader = tf.train.load_checkpoint(str(workdir / "export" / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    (name,) = [name for name, shape in shapes.items() if len(shape) == 2]
    return reader.get_tensor(name)


def embeddings(workdir):
    """Those of a fixed image by the exported network."""
    image = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
    signature = tf.saved_model.load(str(workdir / "export")).signatures["serving_default"]
    return signature(images=tf.constant(image))["embeddings"]


def assert_same_state(one, two, tolerance):
    assert set(one) == set(two)
    assert len(one) > 5
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=0, atol=tolerance, err_msg=name)


class Recorder(keras.callbacks.Callback):
    """Keeps what a run tells its callbacks, and the weights of `network` after every step."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.events, self.rows, self.kernels = [], {}, []
        self.stop_after = stop_after

    def on_train_begin(self, logs=None):
        self.events.append("train begins")
        self.kernels.append(self.model.get_weights()[0])

    def on_train_end(self, logs=None):
        self.events.append("train ends")

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(f"epoch {epoch} begins")

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(f"epoch {epoch} ends")

    def on_train_batch_end(self, batch, logs=None):
        self.events.append(batch)
        self.kernels.append(self.model.get_weights()[0])
        if logs:
            self.rows[batch] = dict(logs)
        if batch + 1 == self.stop_after:
            self.model.stop_training = True


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 3])
def test_work_in_parts_gives_the_same_weights(records_folder, tmp_path, parts):
    settings = {"precision": "float64", "clipnorm": 0.5}
    for name, count in (("whole", 1), ("parts", parts)):
        train(records_folder, tmp_path / name, accumulate_steps=count, **settings)
    one, two = (state(tmp_path / name, 6) for name in ("whole", "parts"))
    assert_same_state(one, two, 1e-10)


@pytest.fixture(scope="module")
def one_update(records_folder, tmp_path_factory):
    """The change of all weights by one update without momentum and decay, by `clipnorm`."""
    settings = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    settings |= {"precision": "float64", "total_steps": 1}
    changes = {}
    for clipnorm in (0.0, 1e-3, 1e6):
        workdir = tmp_path_factory.mktemp("clip")
        train(records_folder, workdir, clipnorm=clipnorm, **settings)
        changes[clipnorm] = together(trained(workdir, 1)) - together(trained(workdir, 0))
    return changes


def test_a_clipped_update_is_as_long_as_rate_and_clipnorm_say(one_update):
    assert np.linalg.norm(one_update[1e-3]) == pytest.approx(0.01 * 1e-3, rel=1e-9)
    assert np.linalg.norm(one_update[0.0]) > 0.01 * 1e-2


def test_clipping_keeps_the_direction(one_update):
    clipped, free = (one_update[clipnorm] for clipnorm in (1e-3, 0.0))
    np.testing.assert_allclose(
        clipped / np.linalg.norm(clipped), free / np.linalg.norm(free), atol=1e-9
    )


def test_a_gradient_that_is_short_enough_is_not_clipped(one_update):
    np.testing.assert_allclose(one_update[1e6], one_update[0.0], rtol=1e-9, atol=1e-15)


# The optimizers of Keras have their constants, such as the momentum, in float32 only.
@pytest.mark.parametrize(("optimizer", "tolerance"), [("sgd", 1e-8), ("adam", 1e-6)])
def test_split_classes_on_one_device_change_nothing(records_folder, tmp_path, optimizer, tolerance):
    """Keras updates weights in one piece, but rules of this package those that are split."""
    settings = {"optimizer": optimizer, "precision": "float64", "clipnorm": 0.5}
    for name, split in (("whole", False), ("split", True)):
        train(records_folder, tmp_path / name, shard_classes=split, **settings)
    whole, split = (trained(tmp_path / name, 6) for name in ("whole", "split"))
    np.testing.assert_allclose(together(split), together(whole), rtol=0, atol=tolerance)


@pytest.mark.parametrize("decay", [0.5, 0.2])
def test_the_averages_are_exported(records_folder, tmp_path, decay):
    recorder = Recorder()
    train(records_folder, tmp_path, [recorder], ema=decay, learning_rate=0.1)
    # TensorFlow's averages, which begin faster when they are told the number of the update.
    kernel, updates = tf.Variable(recorder.kernels[0]), tf.Variable(0)
    averages = tf.train.ExponentialMovingAverage(decay, updates)
    averages.apply([kernel])
    for number, value in enumerate(recorder.kernels[1:]):
        updates.assign(number)
        kernel.assign(value)
        averages.apply([kernel])
    expected = averages.average(kernel).numpy()
    np.testing.assert_allclose(exported_kernel(tmp_path), expected, atol=1e-6)
    assert np.abs(exported_kernel(tmp_path) - recorder.kernels[-1]).max() > 1e-3


def verified(faces, steps):
    return {
        "verify_steps": steps,
        "verify_images": str(faces / "images"),
        "verify_pairs": str(faces / "pairs.txt"),
        "verify_landmarks": str(faces / "landmarks.txt"),
    }


def test_training_goes_on_from_the_weights_and_not_from_their_averages(
    records_folder, faces, tmp_path
):
    with_averages, without = Recorder(), Recorder()
    settings = {"ema": 0.9, **verified(faces, 1)}
    train(records_folder, tmp_path / "a", [with_averages], learning_rate=0.1, **settings)
    train(records_folder, tmp_path / "b", [without], learning_rate=0.1)
    np.testing.assert_array_equal(with_averages.kernels, without.kernels)
    np.testing.assert_array_equal(trained(tmp_path / "a", 6)[0], without.kernels[-1])


class LastDtype(keras.callbacks.Callback):
    """That in which the last layer of the network computes."""

    def on_train_begin(self, logs=None):
        self.found = self.model.layers[-1].compute_dtype


def test_mixed_precision_keeps_weights_and_embeddings_in_float32(records_folder, tmp_path):
    dtype = LastDtype()
    settings = {"backbone": "sphereface4", "width": 0.1, "precision": "mixed_bfloat16"}
    train_config(small_config(records_folder, tmp_path, **settings), callbacks=[dtype])
    assert dtype.found == "bfloat16"
    kinds = {value.dtype.name for value in state(tmp_path, 6).values()}
    assert kinds <= {"float32", "float64", "int64"}  # the log is summed in float64
    found = embeddings(tmp_path)
    assert found.dtype == tf.float32
    assert np.isfinite(found).all()
    assert np.isfinite(pd.read_csv(tmp_path / "log.csv")["loss"]).all()
    # Layers of the user's own, made afterwards, are as before.
    assert keras.mixed_precision.global_policy().name == "float32"


def test_a_network_in_float64_gives_embeddings_in_float32(records_folder, tmp_path):
    train(records_folder, tmp_path, precision="float64", total_steps=1)
    assert exported_kernel(tmp_path).dtype == np.float64
    assert embeddings(tmp_path).dtype == tf.float32


@pytest.mark.slow
def test_compilation_with_xla_changes_nothing(records_folder, tmp_path):
    settings = {"backbone": "sphereface4", "width": 0.1, "accumulate_steps": 2}
    for name, jit in (("plain", False), ("jit", True)):
        train_config(small_config(records_folder, tmp_path / name, jit=jit, **settings))
    one, two = (state(tmp_path / name, 6) for name in ("plain", "jit"))
    for found in (one, two):
        # Sums over many samples, of angles say, and no weights.
        del found["open_row/sums/.ATTRIBUTES/VARIABLE_VALUE"]
    assert_same_state(one, two, 1e-5)


def test_schedule_and_warm_up_are_seen_in_the_log(records_folder, tmp_path):
    train(records_folder, tmp_path, schedule="cosine", lr_warmup_steps=4, log_steps=1)
    steps = np.arange(6)
    expected = 0.005 * (1 + np.cos(np.pi * steps / 6)) * [0.25, 0.5, 0.75, 1, 1, 1]
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(log["learning_rate"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jit": True, "shard_classes": True}, "Received: jit=True, shard_classes=True"),
        ({"verify_steps": 2}, "belong together. Received: verify_steps=2"),
        ({"verify_steps": 2, "verify_pairs": "pairs.txt"}, "verify_pairs='pairs.txt'"),
        ({"verify_steps": 2, "verify_images": "images"}, "verify_images='images'"),
        ({"verify_images": "images", "verify_pairs": "pairs.txt"}, "verify_steps=0"),
        ({"verify_bin": "faces.bin"}, "verify_bin='faces.bin'"),
        ({"verify_steps": -1}, "Received: verify_steps=-1"),
        ({"accumulate_steps": 0}, "Received: accumulate_steps=0"),
        ({"accumulate_steps": 4}, "1 devices and 4 parts .* Received: batch_size=6"),
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
def test_settings_that_cannot_be_are_refused_before_training(
    records_folder, tmp_path, settings, message
):
    with pytest.raises(ValueError, match=message):
        train(records_folder, tmp_path, **settings)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("below", [(), ("run",), ("deep", "run")])
def test_a_workdir_that_cannot_be_is_named_before_training(records_folder, tmp_path, below):
    (tmp_path / "file").write_text("here before")
    workdir, recorder = tmp_path.joinpath("file", *below), Recorder()
    with pytest.raises(OSError, match="`workdir` cannot be written to") as refused:
        train(records_folder, workdir, [recorder])
    assert str(workdir) in str(refused.value)
    assert recorder.events == []
    assert (tmp_path / "file").read_text() == "here before"


def test_too_little_space_is_said_before_training(records_folder, tmp_path, monkeypatch):
    settings = {"embedding_size": 2_000, "total_steps": 1}
    train(records_folder, tmp_path / "measured", **settings)
    kept = checkpoint(tmp_path / "measured", 1)
    size = sum(path.stat().st_size for path in kept.iterdir())
    usage, recorder = shutil.disk_usage(tmp_path), Recorder()

    def set_free(amount):
        # A small file system cannot be mounted wherever tests run.
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(amount)))

    # Two are kept, a third is there while it is written, and there is the export.
    set_free(0.95 * 4 * size)
    with pytest.raises(atomic.DiskSpaceError, match=r"About 0\.01 GB are needed") as refused:
        train(records_folder, tmp_path / "run", [recorder], **settings)
    assert str(tmp_path / "run") in str(refused.value)
    assert recorder.events == []
    assert not (tmp_path / "run" / "checkpoints").exists()
    set_free(1.05 * 4 * size)
    train(records_folder, tmp_path / "run", [recorder], **settings)
    assert 0 in recorder.events


def test_callbacks_hear_of_steps_epochs_and_rows_of_the_log(records_folder, tmp_path):
    recorder = Recorder()
    train(records_folder, tmp_path, [recorder], total_steps=12)
    assert recorder.events == [
        *("train begins", "epoch 0 begins", 0, 1, 2, 3, 4, "epoch 0 ends"),
        *("epoch 1 begins", 5, 6, 7, 8, 9, "epoch 1 ends"),
        *("epoch 2 begins", 10, 11, "train ends"),
    ]
    log = pd.read_csv(tmp_path / "log.csv").to_dict("records")
    assert sorted(recorder.rows) == [1, 3, 5, 7, 9, 11]
    for row in log:
        assert recorder.rows[row["step"] - 1] == pytest.approx(row, rel=1e-4)


def test_a_callback_ends_the_run_and_another_start_goes_on(records_folder, tmp_path, capfd):
    train(records_folder, tmp_path / "whole")
    stopping, going_on = Recorder(stop_after=3), Recorder()
    train(records_folder, tmp_path / "run", [stopping])
    assert stopping.events[-2:] == [2, "train ends"]
    np.testing.assert_array_equal(exported_kernel(tmp_path / "run"), stopping.kernels[-1])
    assert (tmp_path / "run" / "summary.md").is_file()
    capfd.readouterr()
    train(records_folder, tmp_path / "run", [going_on])
    assert "continuing from step 3" in capfd.readouterr().out
    assert going_on.events == [
        *("train begins", "epoch 0 begins", 3, 4, "epoch 0 ends"),
        *("epoch 1 begins", 5, "train ends"),
    ]
    assert_same_state(state(tmp_path / "run", 6), state(tmp_path / "whole", 6), 0)


def test_settings_that_cannot_be_written_do_not_end_a_run_for_good(
    records_folder, tmp_path, monkeypatch
):
    train(records_folder, tmp_path, [Recorder(stop_after=3)])
    write, going_on = pathlib.Path.write_text, Recorder()

    def fail(path, text, encoding):
        # As on a disk that is full: the old content is gone, the new one is not there.
        write(path, text[:10], encoding=encoding)
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        train(records_folder, tmp_path)
    monkeypatch.undo()
    train(records_folder, tmp_path, [going_on])
    assert 3 in going_on.events


@pytest.mark.slow
def test_what_may_change_may_change(records_folder, tmp_path):
    train(records_folder, tmp_path / "whole", precision="float64")
    train(records_folder, tmp_path / "run", [Recorder(stop_after=2)], precision="float64")
    changes = {"log_steps": 3, "checkpoint_steps": 5, "accumulate_steps": 2, "jit": True}
    train(records_folder, tmp_path / "run", precision="float64", **changes)
    np.testing.assert_allclose(
        exported_kernel(tmp_path / "run"), exported_kernel(tmp_path / "whole"), atol=1e-10
    )
    starts = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert [start["step"] for start in starts] == [0, 2]


def commands(workdir):
    """The words of the commands in the summary."""
    text = (workdir / "summary.md").read_text()
    found = re.findall(r"^```sh\n(.*?)\n```$", text, re.M | re.S)
    return [shlex.split(command) for command in found]


@pytest.fixture(scope="module")
def verified_run(records_folder, faces, tmp_path_factory):
    """A run of averages that are verified, and the words by which it says how to evaluate it."""
    workdir = tmp_path_factory.mktemp("verified")
    # Far from each other, so that averages and weights verify differently.
    settings = {"ema": 0.9, "learning_rate": 1.0, "schedule": "constant"}
    train(records_folder, workdir, **settings, **verified(faces, 4))
    return workdir, commands(workdir)[0]


def test_the_last_verification_is_that_of_the_export(verified_run, tmp_path):
    workdir, words = verified_run
    assert words[:2] == ["python", "tools/evaluate.py"]
    settings = parse_config(EvaluateConfig, words[2:])
    settings = dataclasses.replace(settings, out=str(tmp_path))
    (expected,) = evaluate_config(settings)
    table = pd.read_csv(workdir / "verification.csv")
    assert table["step"].tolist() == [4, 6]
    for name in ("accuracy_mean", "accuracy_std", "auc", "eer", "num_pairs"):
        assert table[name].iloc[-1] == pytest.approx(expected[name], rel=1e-5), name


def test_the_command_that_evaluates_names_model_pairs_and_place(verified_run, faces):
    workdir, words = verified_run
    assert parse_config(EvaluateConfig, words[2:]) == EvaluateConfig(
        model=(str(workdir / "export"),),
        images=(str(faces / "images"),),
        pairs=(str(faces / "pairs.txt"),),
        landmarks=(str(faces / "landmarks.txt"),),
        out=str(workdir / "evaluation"),
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {},
            {
                "images": ("lfw/images",),
                "pairs": ("lfw/pairs.txt",),
                "landmarks": ("lfw/landmarks.txt",),
            },
        ),
        (
            {"verify_bin": "a set.bin", "verify_folds": (1, 3)},
            {"bin": ("a set.bin",), "folds": (1, 3)},
        ),
        ({"verify_images": "i", "verify_pairs": "p"}, {"images": ("i",), "pairs": ("p",)}),
    ],
)
def test_other_commands_that_evaluate(tmp_path, settings, expected):
    words = evaluate_command(TrainConfig(**settings), tmp_path / "export")
    assert parse_config(EvaluateConfig, words[2:]) == EvaluateConfig(
        model=(str(tmp_path / "export"),), out=str(tmp_path / "evaluation"), **expected
    )


def test_a_run_says_how_to_evaluate_and_to_repeat_it(records_folder, tmp_path, capfd):
    settings = {"total_steps": 1, "seed": 5}
    train(records_folder, tmp_path / "a run", **settings)
    said = capfd.readouterr().out.splitlines()
    evaluate, repeat = commands(tmp_path / "a run")
    assert said[-1] == f"evaluate it with: {shlex.join(evaluate)}"
    assert repeat[:2] == ["python", "examples/train_casia.py"]
    settings["backbone"] = f"{__name__}:{network.__name__}"
    expected = small_config(records_folder, tmp_path / "a run", **settings)
    assert parse_config(TrainConfig, repeat[2:]) == expected


def test_a_network_of_the_users_own_is_not_given_the_name_of_another(
    records_folder, tmp_path, capfd
):
    train(records_folder, tmp_path, total_steps=1)
    assert "2,016 weights" in capfd.readouterr().out
    assert "sphereface20" not in (tmp_path / "summary.md").read_text()


def test_a_run_leaves_checksum_versions_and_curves(verified_run, records_folder):
    workdir, _ = verified_run
    info = json.loads((records_folder / "dataset.json").read_text())
    together = "".join(shard["sha256"] for shard in info["shards"])
    checksum = hashlib.sha256(together.encode()).hexdigest()
    run = json.loads((workdir / "run.json").read_text())
    assert run["data_checksum"] == checksum
    assert run["starts"] == [
        {
            "step": 0,
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
    assert checksum in (workdir / "summary.md").read_text()
    assert images.decode((workdir / "curves.png").read_bytes()).std() > 10
