"""The steps of a run: callbacks, epochs, rows of the log, and an early end."""

import keras
import pandas as pd
import pytest

from keras_sphereface.training.train import train
from tests.helpers.small_training import assert_same_state, small_config, state

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_export")]


class Recorder(keras.callbacks.Callback):
    """Keeps the calls of a run, and may stop it."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.events, self.rows = [], {}
        self.stop_after = stop_after

    def on_train_begin(self, logs=None):
        self.events.append("train begins")

    def on_train_end(self, logs=None):
        self.events.append("train ends")

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(f"epoch {epoch} begins")

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(f"epoch {epoch} ends")

    def on_train_batch_end(self, batch, logs=None):
        self.events.append(batch)
        if logs:
            self.rows[batch] = dict(logs)
        if batch + 1 == self.stop_after:
            self.model.stop_training = True


def test_callbacks_hear_of_steps_epochs_and_rows_of_the_log(records_folder, tmp_path):
    recorder = Recorder()
    train(small_config(records_folder, tmp_path, total_steps=12), callbacks=[recorder])
    assert recorder.events == [
        *("train begins", "epoch 0 begins", 0, 1, 2, 3, 4, "epoch 0 ends"),
        *("epoch 1 begins", 5, 6, 7, 8, 9, "epoch 1 ends"),
        *("epoch 2 begins", 10, 11, "train ends"),
    ]
    log = pd.read_csv(tmp_path / "log.csv").to_dict("records")
    assert sorted(recorder.rows) == [1, 3, 5, 7, 9, 11]
    for row in log:
        assert recorder.rows[row["step"] - 1] == pytest.approx(row, rel=1e-4)


def test_a_callback_ends_the_run_and_another_start_continues(records_folder, tmp_path, capfd):
    train(small_config(records_folder, tmp_path / "whole"))
    config = small_config(records_folder, tmp_path / "run")
    stopping, continuing = Recorder(stop_after=3), Recorder()
    train(config, callbacks=[stopping])
    assert stopping.events[-2:] == [2, "train ends"]
    assert (tmp_path / "run" / "export").is_dir()
    assert (tmp_path / "run" / "summary.md").is_file()
    capfd.readouterr()
    train(config, callbacks=[continuing])
    assert "continuing from step 3" in capfd.readouterr().err
    assert continuing.events == [
        *("train begins", "epoch 0 begins", 3, 4, "epoch 0 ends"),
        *("epoch 1 begins", 5, "train ends"),
    ]
    assert_same_state(state(tmp_path / "run", 6), state(tmp_path / "whole", 6), 0)


def test_a_warm_up_of_the_margin_is_in_the_log(records_folder, tmp_path):
    train(small_config(records_folder, tmp_path, margin_warmup_steps=2))
    lambdas = pd.read_csv(tmp_path / "log.csv")["annealing_lambda"]
    assert lambdas[0] == float("inf")
    expected = sum(1000 / (1 + 0.12 * step) for step in (1, 2)) / 2
    assert lambdas[1] == pytest.approx(expected, rel=1e-4)


def test_schedule_and_warm_up_of_the_rate_are_in_the_log(records_folder, tmp_path):
    settings = {"schedule": "cosine", "lr_warmup_steps": 4, "log_steps": 1}
    train(small_config(records_folder, tmp_path, **settings))
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    # 0.005 (1 + cos(pi i / 6)) min(1, (i + 1) / 4)
    expected = [0.0025, 0.00466506, 0.005625, 0.005, 0.0025, 0.000669873]
    assert log["learning_rate"].tolist() == pytest.approx(expected, rel=1e-5)


def short(input_shape, embedding_size, seed):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(
                embedding_size, kernel_initializer=keras.initializers.RandomNormal(0.0, 1e-9, seed)
            ),
        ]
    )


def test_a_run_that_learns_nothing_is_reported_once(records_folder, tmp_path, capfd):
    settings = {"learning_rate": 0.0, "total_steps": 210, "log_steps": 10}
    settings |= {"checkpoint_steps": 210, "base": 0.0, "lambda_min": 0.0}
    train(small_config(records_folder, tmp_path, **settings), short)
    assert capfd.readouterr().err.count("stayed at ln C = 1.61 for 200 steps") == 1


def test_divergence_ends_the_run_with_advice(records_folder, tmp_path):
    with pytest.raises(
        FloatingPointError, match="a lower `learning_rate` or a larger `lambda_min`"
    ):
        train(small_config(records_folder, tmp_path, learning_rate=1e9))
    assert not (tmp_path / "export").exists()


def test_a_diverged_run_leaves_no_checkpoint_to_continue_from(records_folder, tmp_path):
    settings = {"learning_rate": 1e9, "log_steps": 6, "checkpoint_steps": 4}
    with pytest.raises(FloatingPointError, match="at step 4"):
        train(small_config(records_folder, tmp_path, **settings))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000000"]
    # It is in the way of no other run.
    train(small_config(records_folder, tmp_path, total_steps=1))
