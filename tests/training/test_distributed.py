"""Training on several devices and workers equals training on one; a killed run continues."""

import contextlib
import time

import numpy as np
import pandas as pd
import pytest

from keras_sphereface.config import TrainConfig
from keras_sphereface.distribute.launcher import worker_environments
from keras_sphereface.training.train import train
from keras_sphereface.utils.compat import KERAS_3
from tests.helpers.small_training import SAME_COLUMNS, assert_same_state, checkpoint, state
from tests.helpers.training_process import training

TOTAL, LOGGED = 20, [4, 8, 12, 16, 20]
# Epochs of 30 images end inside batches of 8, and the shards are uneven too.
SETTINGS = {
    "backbone": "tests.helpers.small_training:one_layer",
    "embedding_size": 16,
    "batch_size": 8,
    "total_steps": TOTAL,
    "log_steps": 4,
    "checkpoint_steps": 8,
    "learning_rate": 0.01,
    "lr_warmup_steps": 0,
    "clipnorm": 0.0,
    "gamma": 0.12,
    "shift": 2.0,
    "rotation": 5.0,
    "brightness": 0.2,
    "precision": "float64",
}
EVERYTHING = {
    "head": "sphereface2",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "shard_classes": True,
    "block_size": 2,
    "accumulate_steps": 2,
    "clipnorm": 1.0,
    "ema": 0.9,
    "schedule": "cosine",
    "lr_warmup_steps": 5,
}
# Rounding alone, as float64 shows: the sums of TensorFlow 2.15 depend more on the batch's size and
# on the number of threads.
FLOAT32 = 1e-6 if KERAS_3 else 1e-5
NETWORK = {"backbone": "sphereface4", "width": 0.05}
# At larger rates the kinks of PReLU turn a rounding into a difference of a whole step.
CASES = {
    "paper": (NETWORK, 1e-12),
    "float32": ({**NETWORK, "precision": "float32", "learning_rate": 1e-3}, FLOAT32),
    # Layers of which the training call has faster ones. While a device waits for the statistics of
    # the other, the graph of the other is built.
    "fast layers": (
        {
            "backbone": "tests.helpers.small_training:wide",
            "precision": "float32",
            "learning_rate": 1e-3,
        },
        FLOAT32,
    ),
    # The statistics of the whole batch, on any number of devices.
    "batch norm": ({**NETWORK, "batch_norm": True}, 1e-11),
    "sharded": ({"shard_classes": True}, 1e-12),
    # Eleven binary digits of the updates of 20 steps.
    "float16 gradients": ({"gradient_precision": "float16"}, 1e-4),
    "everything": (EVERYTHING, 1e-11),
    "contrastive": ({"head": "softmax+contrastive", "images_per_identity": 2}, 1e-12),
    "center": ({"head": "softmax+center", "term_weight": 0.1, "images_per_identity": 2}, 1e-12),
    "sharded center": (
        {"head": "softmax+center", "term_weight": 0.1, "shard_classes": True},
        1e-12,
    ),
    "triplet": ({"head": "triplet", "images_per_identity": 2}, 1e-12),
    "triplet-hard": ({"head": "triplet-hard", "images_per_identity": 4}, 1e-12),
    "semi-siamese": (
        {"semi_siamese": True, "head": "cosface", "scale": 9.0, "queue_size": 16},
        1e-12,
    ),
    "penalized": (
        {"backbone": "tests.helpers.small_training:penalized", "shard_classes": True},
        1e-12,
    ),
}


def run_settings(records_folder, workdir, case, **settings):
    """The settings of a run of a case, for a process."""
    paths = {"data": str(records_folder), "workdir": str(workdir)}
    return {**paths, **SETTINGS, **CASES[case][0], **settings}


def train_here(records_folder, workdir, case, **settings):
    """Train in this process, on one device."""
    train(TrainConfig(**run_settings(records_folder, workdir, case, **settings)))


@pytest.fixture(scope="module")
def on_one_device(records_folder, tmp_path_factory):
    """The folders of runs on one device, made where they are asked for."""
    folder, made = tmp_path_factory.mktemp("one"), {}

    def of(case):
        if case not in made:
            made[case] = folder / case
            train_here(records_folder, made[case], case)
        return made[case]

    return of


def assert_same_run(workdir, other, tolerance, log_tolerance=1e-4):
    one, two = state(workdir, TOTAL), state(other, TOTAL)
    assert len(one) >= 8
    assert_same_state(one, two, tolerance)
    one, two = (pd.read_csv(folder / "log.csv") for folder in (workdir, other))
    pd.testing.assert_frame_equal(one[SAME_COLUMNS], two[SAME_COLUMNS], rtol=log_tolerance)
    assert one["step"].tolist() == LOGGED


# One process for all of them: slow ones first, the other combinations in `full`.
SLOW = [
    *(("paper", 2), ("batch norm", 2), ("triplet", 2), ("semi-siamese", 2)),
    ("everything", 4),
]
GLOBAL_BATCH = ["contrastive", "center", "sharded center", "triplet", "triplet-hard"]
FULL = [
    (case, devices)
    for case in CASES
    # Two devices are enough where it is the batch that is put together.
    for devices in ((2,) if case in GLOBAL_BATCH else (2, 4))
    if (case, devices) not in SLOW
]


@pytest.fixture(scope="module")
def on_devices(records_folder, tmp_path_factory):
    """A function from case and devices to the folder and the output of a run."""
    made = {}

    def of(case, devices):
        cases = SLOW if (case, devices) in SLOW else FULL
        if (case, devices) not in made:
            folder = tmp_path_factory.mktemp("devices")
            together = [pair for pair in cases if pair[1] == devices]
            runs = [run_settings(records_folder, folder / name, name) for name, _ in together]
            with training(folder / "outputs", *runs, devices=devices) as process:
                process.finish()
            for number, pair in enumerate(together):
                made[pair] = folder / pair[0], process.output(number)
        return made[case, devices]

    return of


@pytest.mark.parametrize(
    ("case", "devices"),
    [pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW]
    + [pytest.param(*pair, marks=pytest.mark.full) for pair in FULL],
)
def test_several_devices_train_as_one(on_devices, on_one_device, case, devices):
    workdir, output = on_devices(case, devices)
    assert f"{devices} x CPU" in output
    assert_same_run(workdir, on_one_device(case), CASES[case][1])


@contextlib.contextmanager
def two_workers(folder, runs, other_runs=None):
    """Two processes that train together; the second may have other settings."""
    environments = worker_environments(2)
    with (
        training(folder / "chief", *runs, environment=environments[0]) as chief,
        training(folder / "other", *(other_runs or runs), environment=environments[1]) as other,
    ):
        yield chief, other


@pytest.fixture(scope="module")
def on_workers(records_folder, tmp_path_factory):
    """Three runs of one pair of workers: as one, with other settings, and one that stops."""
    folder = tmp_path_factory.mktemp("workers")
    names = ("equal", "different", "stopped")
    runs = [run_settings(records_folder, folder / name, "everything") for name in names]
    changes = [{}, {"learning_rate": 0.02}, {"stop_after": 7}]
    other_runs = [{**run, **change} for run, change in zip(runs, changes, strict=True)]
    with two_workers(folder, runs, other_runs) as processes:
        for process in processes:
            process.finish(exitcode=1)  # of the second run
    return folder, processes


@pytest.mark.slow
def test_two_workers_train_as_one_process(on_workers, on_one_device):
    folder, (chief, other) = on_workers
    workdir = folder / "equal"
    assert_same_run(workdir, on_one_device("everything"), CASES["everything"][1])
    assert "2 x CPU (2 workers)" in chief.output(0)
    assert "step" not in other.output(0)  # the chief logs for all
    assert len(list((workdir / "tensorboard").iterdir())) == 1
    assert (workdir / "export" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_workers_that_are_started_differently_are_refused(on_workers):
    folder, processes = on_workers
    for process in processes:
        expected = "The checksum of settings and records differs between the workers"
        assert expected in process.output(1)
    assert not (folder / "different" / "log.csv").exists()


@pytest.mark.slow
def test_one_worker_that_stops_ends_all_at_the_next_row_of_the_log(on_workers):
    folder, _ = on_workers
    assert pd.read_csv(folder / "stopped" / "log.csv")["step"].tolist() == [4, 8]
    assert (folder / "stopped" / "export" / "saved_model.pb").is_file()


@pytest.mark.full
def test_two_workers_train_as_one_process_in_other_cases(records_folder, tmp_path, on_one_device):
    cases = ("paper", "center", "triplet")
    runs = [run_settings(records_folder, tmp_path / case, case) for case in cases]
    with two_workers(tmp_path, runs) as processes:
        for process in processes:
            process.finish()
    for case in cases:
        assert_same_run(tmp_path / case, on_one_device(case), CASES[case][1])


def wait_for(condition, process, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.process.is_alive(), process.output()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def steps_logged(workdir):
    path = workdir / "log.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


@pytest.mark.parametrize(
    "lost", [pytest.param(0, marks=pytest.mark.full), pytest.param(1, marks=pytest.mark.slow)]
)
def test_a_lost_worker_is_reported_and_all_continue_when_they_are_started_again(
    records_folder, tmp_path, on_one_device, lost
):
    workdir = tmp_path / "run"
    run = run_settings(records_folder, workdir, "sharded", checkpoint_steps=2)
    kills = [{**run, "kill_after": 9 if worker == lost else 0} for worker in (0, 1)]
    with two_workers(tmp_path / "first", kills[:1], kills[1:]) as processes:
        processes[lost].finish(exitcode=-9)
        output = processes[1 - lost].finish(exitcode=1)
    assert "WorkerLostError: The connection to another worker is lost" in output
    assert "Start all workers again with the same command" in output
    assert not (workdir / "export").exists()
    # One of the two alone reads this file, and both must go back to the checkpoint before.
    newest = checkpoint(workdir, 8)
    damaged = sorted(newest.glob("classes-*"))[lost]
    damaged.write_bytes(damaged.read_bytes()[:100])
    with two_workers(tmp_path / "second", [run]) as processes:
        chief, _ = (process.finish() for process in processes)
    assert "continuing from step 6\n" in chief
    assert_same_run(workdir, on_one_device("sharded"), 1e-12)


@pytest.mark.parametrize(
    ("kill", "continued_from"),
    [
        pytest.param({"kill_in_checkpoint": 16}, 8, marks=pytest.mark.slow),
        pytest.param({"kill_in_checkpoint": 8}, 0, marks=pytest.mark.full),
        pytest.param({"kill_in_checkpoint": 20}, 16, marks=pytest.mark.full),
        pytest.param({"kill_after": 13}, 8, marks=pytest.mark.full),
    ],
    ids=str,
)
def test_killed_inside_a_checkpoint_the_one_before_is_taken(
    records_folder, tmp_path, on_one_device, kill, continued_from, capfd
):
    workdir = tmp_path / "run"
    run = run_settings(records_folder, workdir, "everything")
    with training(tmp_path / "output", {**run, **kill}) as process:
        process.finish(exitcode=-9)
    train(TrainConfig(**run))
    error = capfd.readouterr().err
    assert ("continuing from step" in error) == bool(continued_from)
    assert f"continuing from step {continued_from}\n" in error or not continued_from
    assert_same_run(workdir, on_one_device("everything"), 0, 0)


@pytest.mark.full
@pytest.mark.parametrize(("devices", "tolerance"), [(1, 0), (2, FLOAT32)])
def test_killed_at_any_moment_it_continues_to_the_same_weights(
    records_folder, tmp_path, on_one_device, devices, tolerance
):
    workdir = tmp_path / "run"
    run = run_settings(records_folder, workdir, "float32", checkpoint_steps=2)
    rng, kills, ended, output = np.random.default_rng(devices), 0, False, ""
    while not ended:
        before = steps_logged(workdir)
        with training(tmp_path / "output", run, devices=devices) as process:
            if kills < 3 and before < 4:  # else it might end before the next row
                wait_for(lambda before=before: steps_logged(workdir) > before, process)
                time.sleep(rng.uniform(0, 0.1))
                kills += process.process.is_alive()
            else:
                output, ended = process.finish(), True
    assert "continuing from step" in output
    assert_same_run(workdir, on_one_device("float32"), tolerance, 1e-4 if tolerance else 1e-6)


@pytest.mark.full
def test_centers_and_the_place_in_balanced_batches_are_kept(
    records_folder, tmp_path, on_one_device
):
    workdir = tmp_path / "run"
    run = run_settings(records_folder, workdir, "center")
    with training(tmp_path / "output", {**run, "kill_after": 13}) as process:
        process.finish(exitcode=-9)
    train(TrainConfig(**run))
    assert any("centers" in name for name in state(workdir, TOTAL))
    assert_same_run(workdir, on_one_device("center"), 0, 0)


@pytest.mark.slow
def test_a_run_continues_with_another_number_of_devices(records_folder, tmp_path, on_one_device):
    workdir = tmp_path / "run"
    run = run_settings(records_folder, workdir, "everything")
    with training(tmp_path / "four", {**run, "stop_after": 9}, devices=4) as process:
        process.finish()
    train(TrainConfig(**run))
    assert_same_run(workdir, on_one_device("everything"), 1e-11)


@pytest.mark.full
def test_a_run_continues_after_kills_with_other_numbers_of_devices(
    records_folder, tmp_path, on_one_device
):
    workdir = tmp_path / "run"
    run = run_settings(records_folder, workdir, "everything")
    for devices, kill in ((4, 9), (1, 18), (2, 0)):
        with training(tmp_path / "output", {**run, "kill_after": kill}, devices=devices) as process:
            process.finish(exitcode=-9 if kill else 0)
    assert_same_run(workdir, on_one_device("everything"), 1e-11)
