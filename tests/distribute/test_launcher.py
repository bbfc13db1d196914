"""Workers are started on this machine, heard, and ended together."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_sphereface.config import LaunchConfig
from keras_sphereface.distribute import launcher
from tests.conftest import ROOT

# Says who it is, waits for the others, then does what is said for its number: "1:exit:3".
WORKER = """
import json, os, subprocess, sys, time
cluster = json.loads(os.environ["TF_CONFIG"])
index, files = cluster["task"]["index"], f"{sys.argv[1]}.{{}}".format
with open(files("partial") + str(index), "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, files(index))
while not all(os.path.exists(files(i)) for i in range(len(cluster["cluster"]["worker"]))):
    time.sleep(0.01)
print("out", os.environ["TF_CONFIG"], flush=True)
print("\\rbar 1\\rbar 2", file=sys.stderr, flush=True)
for number, do, value in (word.split(":") for word in sys.argv[2:]):
    if int(number) == index:
        if do == "exit":
            sys.exit(int(value))
        if do == "signal":
            os.kill(os.getpid(), int(value))
        if do == "child":  # which has the same output, and stays
            subprocess.Popen(["sleep", value])
            continue
        if do == "file":
            open(f"{sys.argv[1]}.{value}", "w").close()
            continue
        time.sleep(float(value))
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return (str(path), str(tmp_path / "pid"))


def run(program, *words, workers=2):
    return launcher.launch(LaunchConfig(workers=workers, program=(*program, *words)))


def process_of(program, index):
    """The number of a worker's process."""
    with open(f"{program[1]}.{index}") as file:
        return int(file.read())


def is_running(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_are_heard_line_by_line_with_their_number(program, capfd):
    assert run(program, workers=3) == 0
    said = capfd.readouterr().out.splitlines()
    assert len(said) == 9
    for index in range(3):
        assert f"[worker {index}] bar 1" in said
        assert f"[worker {index}] bar 2" in said


def test_each_worker_is_told_who_it_is_and_where_all_are(program, capfd):
    run(program, workers=3)
    told = {}
    for line in capfd.readouterr().out.splitlines():
        if "] out " in line:
            prefix, _, cluster = line.partition("] out ")
            told[int(prefix.removeprefix("[worker "))] = json.loads(cluster)
    addresses = told[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    for index in range(3):
        assert told[index]["cluster"]["worker"] == addresses
        assert told[index]["task"] == {"type": "worker", "index": index}


@pytest.mark.parametrize(
    ("death", "status", "how"),
    [
        ("1:exit:3", 3, "failed with exit status 3"),
        ("1:signal:9", 137, "was ended by SIGKILL"),
    ],
)
def test_when_one_dies_all_are_ended_and_it_is_named(program, capfd, death, status, how):
    start = time.monotonic()
    assert run(program, death, "0:sleep:100", "2:sleep:100", workers=3) == status
    assert time.monotonic() - start < 60
    assert f"Worker 1 {how}; the others are ended." in capfd.readouterr().out
    assert not any(is_running(process_of(program, index)) for index in (0, 2))


def test_one_that_ends_well_ends_no_other(program, capfd):
    assert run(program, "1:sleep:1", "1:file:done") == 0
    assert "ended" not in capfd.readouterr().out
    assert os.path.exists(f"{program[1]}.done")


def test_a_death_is_seen_although_a_child_holds_the_output_open(program, capfd):
    start = time.monotonic()
    assert run(program, "1:child:100", "1:exit:3", "0:sleep:100") == 3
    assert time.monotonic() - start < 50
    assert "Worker 1 failed with exit status 3" in capfd.readouterr().out


@pytest.mark.slow
def test_a_launcher_that_nobody_listens_to_ends_its_workers(program):
    words = ["tools/launch_local.py", "--", *program, "0:sleep:3", "1:sleep:100", "0:exit:0"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        process.stdout.close()
        assert process.wait(60) != 0
    assert not any(is_running(process_of(program, index)) for index in (0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_stopped_ends_its_workers(program, number):
    words = ["tools/launch_local.py", "--", *program, "0:sleep:100", "1:sleep:100"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        for line in process.stdout:
            if b"bar 2" in line:  # all run
                break
        process.send_signal(number)
        assert process.wait(60) != 0
    assert not any(is_running(process_of(program, index)) for index in (0, 1))


def test_gpus_are_shared_out():
    shares = [
        environment["CUDA_VISIBLE_DEVICES"]
        for environment in launcher.worker_environments(2, ["0", "3", "GPU-5"])
    ]
    assert shares == ["0,3", "GPU-5"]


def test_without_gpus_nothing_is_said_of_them(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert all("CUDA_VISIBLE_DEVICES" not in found for found in launcher.worker_environments(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "Received: workers=0"),
        ((3, ["0", "1"]), "Received: workers=3, 2 GPUs"),
    ],
)
def test_workers_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        launcher.worker_environments(*arguments)


def test_a_program_must_be_given():
    with pytest.raises(ValueError, match="after a lone `--`"):
        launcher.launch(LaunchConfig())
