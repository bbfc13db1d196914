"""Workers are started on this machine, their output is forwarded, and they end together."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_sphereface.distribute import launcher
from tests.conftest import ROOT
from tests.helpers.training_process import CONTEXT

# Writes its process id, waits for the others, then follows the words for its index: "1:exit:3".
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
print("WARNING: ours", file=sys.stderr, flush=True)
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
    return launcher.launch((*program, *words), workers)


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


def test_output_is_forwarded_line_by_line_with_the_number_of_the_worker(program, capfd):
    assert run(program, workers=3) == 0
    output = capfd.readouterr()
    assert len(output.out.splitlines()) == 3
    lines = output.err.splitlines()
    assert len(lines) == 7
    assert sum(line.endswith("] WARNING: ours") for line in lines) == 1
    for index in range(3):
        assert f"[worker {index}] bar 1" in lines
        assert f"[worker {index}] bar 2" in lines


def test_each_worker_gets_its_index_and_all_addresses(program, capfd):
    run(program, workers=3)
    clusters = {}
    for line in capfd.readouterr().out.splitlines():
        if "] out " in line:
            prefix, _, cluster = line.partition("] out ")
            clusters[int(prefix.removeprefix("[worker "))] = json.loads(cluster)
    addresses = clusters[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    for index in range(3):
        assert clusters[index]["cluster"]["worker"] == addresses
        assert clusters[index]["task"] == {"type": "worker", "index": index}


@pytest.mark.parametrize(
    ("death", "status", "cause"),
    [
        ("1:exit:3", 3, "failed with exit status 3"),
        ("1:signal:9", 137, "was ended by SIGKILL"),
    ],
)
def test_when_one_dies_all_are_ended_and_it_is_reported(program, capfd, death, status, cause):
    start = time.monotonic()
    assert run(program, death, "0:sleep:100", "2:sleep:100", workers=3) == status
    assert time.monotonic() - start < 60
    assert f"WARNING: worker 1 {cause}; the others are ended\n" in capfd.readouterr().err
    assert not any(is_running(process_of(program, index)) for index in (0, 2))


@pytest.mark.slow
def test_one_that_ends_well_ends_no_other(program, capfd):
    assert run(program, "1:sleep:0.2", "1:file:done") == 0
    assert "ended" not in capfd.readouterr().err
    assert os.path.exists(f"{program[1]}.done")


def test_a_death_is_seen_although_a_child_holds_the_output_open(program, capfd):
    start = time.monotonic()
    assert run(program, "1:child:100", "1:exit:3", "0:sleep:100") == 3
    assert time.monotonic() - start < 50
    assert "worker 1 failed with exit status 3" in capfd.readouterr().err


def launch_into(pipe, program):
    """In a separate process: launch with a named pipe as output and for errors."""
    os.dup2(os.open(pipe, os.O_WRONLY), 1)
    os.dup2(1, 2)
    # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(launcher.launch(program))


@pytest.fixture
def launched(tmp_path):
    """A function that launches in a separate process; returns it and a file of its output."""
    processes = []

    def start(*program):
        os.mkfifo(tmp_path / "pipe")
        process = CONTEXT.Process(target=launch_into, args=(tmp_path / "pipe", program))
        process.start()
        processes.append(process)
        return process, open(tmp_path / "pipe", "rb")

    yield start
    for process in processes:
        process.kill()


@pytest.mark.slow
def test_a_launcher_whose_output_is_closed_ends_its_workers(program, launched):
    process, output = launched(*program, "0:sleep:1", "1:sleep:100", "0:exit:0")
    output.close()
    process.join(60)
    assert process.exitcode not in (None, 0)
    assert not any(is_running(process_of(program, index)) for index in (0, 1))


def wait_until_all_run(output):
    for line in output:
        if b"bar 2" in line:
            return


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_stopped_ends_its_workers(program, launched, number):
    process, output = launched(*program, "0:sleep:100", "1:sleep:100")
    with output:
        wait_until_all_run(output)
        os.kill(process.pid, number)
        process.join(60)
    assert process.exitcode not in (None, 0)
    assert not any(is_running(process_of(program, index)) for index in (0, 1))


@pytest.mark.full
def test_the_script_that_is_stopped_ends_its_workers(program):
    words = ["tools/launch_local.py", "--", *program, "0:sleep:100", "1:sleep:100"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        wait_until_all_run(process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
    assert not any(is_running(process_of(program, index)) for index in (0, 1))


def test_gpus_are_shared_out():
    shares = [
        environment["CUDA_VISIBLE_DEVICES"]
        for environment in launcher.worker_environments(2, ["0", "3", "GPU-5"])
    ]
    assert shares == ["0,3", "GPU-5"]


def test_without_gpus_the_variable_of_cuda_is_not_set(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert all("CUDA_VISIBLE_DEVICES" not in names for names in launcher.worker_environments(2))


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
    with pytest.raises(ValueError, match="must follow a lone `--`"):
        launcher.launch(())
