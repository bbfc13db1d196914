"""Training on several devices and workers equals training on one; what is killed goes on."""

import contextlib
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from keras_sphereface.training.training_log import LOG_FIELDS

from keras_sphereface.distribute.launcher import worker_environments
from keras_sphereface.utils.compat import KERAS_3
from tests.conftest import ROOT
from tests.helpers.small_training import state

# Epochs of 30 images end inside batches of 8, and the shards are uneven too.
SETTINGS = {
    "backbone": "sphereface4",
    "width": 0.1,
    "embedding_size": 16,
    "batch_size": 8,
    "total_steps": 50,
    "log_steps": 10,
    "checkpoint_steps": 20,
    "learning_rate": 0.01,
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
# At larger rates the kinks of PReLU turn a rounding into a difference of a whole step.
CASES = {
    "paper": ({}, 1e-12),
    "float32": ({"precision": "float32", "learning_rate": 1e-3}, FLOAT32),
    "split": ({"shard_classes": True}, 1e-12),
    "everything": (EVERYTHING, 1e-11),
    "contrastive": ({"head": "softmax+contrastive", "images_per_identity": 2}, 1e-12),
    "center": ({"head": "softmax+center", "term_weight": 0.1, "images_per_identity": 2}, 1e-12),
    "split center": ({"head": "softmax+center", "term_weight": 0.1, "shard_classes": True}, 1e-12),
    "triplet": ({"head": "triplet", "images_per_identity": 2}, 1e-12),
    "triplet-hard": ({"head": "triplet-hard", "images_per_identity": 4}, 1e-12),
    "penalised": (
        {"backbone": "tests.helpers.training_process:penalised", "shard_classes": True},
        1e-12,
    ),
}


@contextlib.contextmanager
def started(records, workdir, devices=1, environment=None, kill=(0, 0), stop=0, **settings):
    """The process of a training, which does not outlive the block."""
    settings = {"data": str(records), "workdir": str(workdir), **SETTINGS, **settings}
    facts = {"devices": devices, "stop_after": stop}
    facts |= {"kill_after": kill[0], "kill_in_checkpoint": kill[1]}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.helpers.training_process",
            json.dumps({**facts, "settings": settings}),
        ],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finish(process, returncode=0, timeout=300):
    """What a process says until it ends, as it should."""
    said, _ = process.communicate(timeout=timeout)
    assert process.returncode == returncode, said
    return said


def run(records, workdir, devices=1, **settings):
    with started(records, workdir, devices, **settings) as process:
        return finish(process)


def assert_same_state(workdir, other, tolerance):
    one, two = state(workdir, 50), state(other, 50)
    assert set(one) == set(two)
    assert len(one) >= 10
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=0, atol=tolerance, err_msg=name)


def assert_same_log(workdir, other, tolerance):
    one, two = (pd.read_csv(folder / "log.csv") for folder in (workdir, other))
    same = [name for name in LOG_FIELDS if name != "images_per_second"]
    pd.testing.assert_frame_equal(one[same], two[same], rtol=tolerance)
    assert one["step"].tolist() == [10, 20, 30, 40, 50]


@pytest.fixture(scope="module")
def alone(records_folder, tmp_path_factory):
    """The folders of runs on one device, made where they are asked for."""
    folder, made = tmp_path_factory.mktemp("alone"), {}

    def of(case):
        if case not in made:
            made[case] = folder / case
            run(records_folder, made[case], **CASES[case][0])
        return made[case]

    return of


# Two devices are enough where it is the batch that is put together.
WHOLE_BATCH = [case for case in CASES if "head" in CASES[case][0] and case != "everything"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "devices"),
    [(case, count) for case in CASES for count in ((2,) if case in WHOLE_BATCH else (2, 4))],
)
def test_several_devices_train_as_one(records_folder, tmp_path, alone, case, devices):
    settings, tolerance = CASES[case]
    said = run(records_folder, tmp_path, devices, **settings)
    assert f"{devices} x CPU" in said
    assert_same_state(tmp_path, alone(case), tolerance)
    assert_same_log(tmp_path, alone(case), 1e-4)


@contextlib.contextmanager
def workers(records, workdir, of_second=None, **settings):
    """Two of them; the second may have settings of its own."""
    with contextlib.ExitStack() as stack:
        own = ({}, of_second or {})
        yield [
            stack.enter_context(
                started(records, workdir, environment=environment, **{**settings, **others})
            )
            for environment, others in zip(worker_environments(2), own, strict=True)
        ]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["paper", "everything", "center", "triplet"])
def test_two_workers_train_as_one_process(records_folder, tmp_path, alone, case):
    settings, tolerance = CASES[case]
    with workers(records_folder, tmp_path, **settings) as processes:
        chief, other = (finish(process) for process in processes)
    assert_same_state(tmp_path, alone(case), tolerance)
    assert_same_log(tmp_path, alone(case), 1e-4)
    assert "2 x CPU (2 workers)" in chief
    assert "step" not in other  # the chief speaks for all
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert (tmp_path / "export" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_workers_that_are_started_differently_are_refused(records_folder, tmp_path):
    with workers(records_folder, tmp_path, {"learning_rate": 0.02}) as processes:
        for process in processes:
            said = finish(process, returncode=1)
            assert "The checksum of settings and records differs between the workers" in said
    assert not (tmp_path / "log.csv").exists()


@pytest.mark.slow
def test_one_worker_that_stops_ends_all_at_the_next_row_of_the_log(records_folder, tmp_path):
    with workers(records_folder, tmp_path, {"stop": 13}) as processes:
        for process in processes:
            finish(process)
    assert pd.read_csv(tmp_path / "log.csv")["step"].tolist() == [10, 20]
    assert (tmp_path / "export" / "saved_model.pb").is_file()


def wait_for(condition, process, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def steps_logged(workdir):
    path = workdir / "log.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_worker_is_said_and_all_go_on_when_they_are_started_again(
    records_folder, tmp_path, alone, lost
):
    settings = {**CASES["split"][0], "checkpoint_steps": 5}
    folder = tmp_path / "checkpoints"
    with workers(records_folder, tmp_path, **settings) as processes:
        wait_for((folder / "step-00000010").exists, processes[lost])
        processes[lost].kill()
        said = finish(processes[1 - lost], returncode=1, timeout=120)
    assert "WorkerLostError: Another worker has gone" in said
    assert "Start all workers again with the same command" in said
    assert not (tmp_path / "export").exists()
    # One of the two alone reads this file, and both must go back to the checkpoint before.
    before, newest = sorted(folder.glob("step-*"))[-2:]
    damaged = sorted(newest.glob("classes-*"))[lost]
    damaged.write_bytes(damaged.read_bytes()[:100])
    with workers(records_folder, tmp_path, **settings) as processes:
        chief, _ = (finish(process) for process in processes)
    assert f"continuing from step {int(before.name[5:])}\n" in chief
    assert_same_state(tmp_path, alone("split"), 1e-12)
    assert_same_log(tmp_path, alone("split"), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "tolerance"), [(1, 0), (2, FLOAT32)])
def test_killed_at_any_moment_it_goes_on_to_the_same_weights(
    records_folder, tmp_path, alone, devices, tolerance
):
    settings = {**CASES["float32"][0], "checkpoint_steps": 2}
    rng, kills, ended = np.random.default_rng(devices), 0, False
    while not ended:
        before = steps_logged(tmp_path)
        with started(records_folder, tmp_path, devices, **settings) as process:
            if kills < 3 and before < 4:  # else it might end before the next row
                wait_for(lambda before=before: steps_logged(tmp_path) > before, process)
                time.sleep(rng.uniform(0, 0.4))
                kills += process.poll() is None
            else:
                said, ended = finish(process), True
    assert "continuing from step" in said
    assert_same_state(tmp_path, alone("float32"), tolerance)
    assert_same_log(tmp_path, alone("float32"), 1e-6 if tolerance == 0 else 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [(33, 0), (0, 20), (0, 50)], ids=["step", "checkpoint", "last"])
def test_killed_inside_a_checkpoint_the_one_before_is_taken(records_folder, tmp_path, alone, kill):
    settings = CASES["everything"][0]
    with started(records_folder, tmp_path, kill=kill, **settings) as process:
        finish(process, returncode=-9)
    expected = {33: 20, 20: 0, 50: 40}[sum(kill)]
    said = run(records_folder, tmp_path, **settings)
    assert ("continuing from step" in said) == bool(expected)
    assert f"continuing from step {expected}" in said or not expected
    assert_same_state(tmp_path, alone("everything"), 0)
    assert_same_log(tmp_path, alone("everything"), 0)


@pytest.mark.slow
def test_centers_and_the_place_in_balanced_batches_are_kept(records_folder, tmp_path, alone):
    settings = CASES["center"][0]
    with started(records_folder, tmp_path, kill=(33, 0), **settings) as process:
        finish(process, returncode=-9)
    assert "continuing from step 20" in run(records_folder, tmp_path, **settings)
    assert any("centers" in name for name in state(tmp_path, 50))
    assert_same_state(tmp_path, alone("center"), 0)
    assert_same_log(tmp_path, alone("center"), 0)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(records_folder, tmp_path, alone):
    settings = CASES["everything"][0]
    for devices, kill in ((4, (22, 0)), (1, (41, 0)), (2, (0, 0))):
        with started(records_folder, tmp_path, devices, kill=kill, **settings) as process:
            finish(process, returncode=-9 if kill[0] else 0)
    assert_same_state(tmp_path, alone("everything"), 1e-11)
    assert_same_log(tmp_path, alone("everything"), 1e-4)
