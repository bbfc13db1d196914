"""Several workers of one training on this machine: processes that find each other."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

import tensorflow as tf

from keras_sphereface.config import LaunchConfig
from keras_sphereface.distribute.collectives import balanced_ranges

SECONDS_TO_END = 10.0  # which a worker has before it is killed
HOST = "127.0.0.1"


def launch(config: LaunchConfig) -> int:
    """Run a Python program as several workers; what they say gets a prefix.

    Each worker is told by `TF_CONFIG` who it is and where the others are; see
    `strategies.make_strategy`. GPUs are shared out. When a worker fails, the others are ended,
    and so are all when this process is interrupted or terminated.

    Returns:
        0, or the exit status of the first worker that failed: 128 + n if signal n ended it.

    Raises:
        ValueError: if there is no program, or a number of workers that cannot be.
    """
    if not config.program:
        raise ValueError(
            "The program to run must be given after a lone `--`, with its arguments. Received: none"
        )
    environments = worker_environments(config.workers, visible_gpus())
    ended: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    processes: list[subprocess.Popen] = []
    threads: list[threading.Thread] = []
    with _signals_raise():
        try:
            for index, environment in enumerate(environments):
                process = _start(config.program, environment)
                processes.append(process)
                # Of their own, since what a worker has started may keep its output open.
                for work, arguments in (
                    (_forward, (index, process)),
                    (_wait, (index, process, ended)),
                ):
                    threads.append(threading.Thread(target=work, args=arguments, daemon=True))
                    threads[-1].start()
            for _ in processes:
                index, status = ended.get()
                if status:
                    print(f"Worker {index} {_how(status)}; the others are ended.", flush=True)
                    return status if status > 0 else 128 - status
        finally:
            _end(processes)
            for thread in threads:
                thread.join(SECONDS_TO_END)
    return 0


def worker_environments(count: int, gpus: Sequence[str] = ()) -> list[dict[str, str]]:
    """The environments of workers that train together on this machine.

    Args:
        count: how many, >= 1.
        gpus: names of GPUs for `CUDA_VISIBLE_DEVICES`, of which each worker gets its share.

    Raises:
        ValueError: if there is no worker, or there are fewer GPUs than workers.
    """
    if count < 1:
        raise ValueError(f"`workers` must be >= 1. Received: workers={count}")
    if 0 < len(gpus) < count:
        raise ValueError(
            "Each worker needs a GPU of its own; an empty CUDA_VISIBLE_DEVICES hides them. "
            f"Received: workers={count}, {len(gpus)} GPUs"
        )
    addresses = [f"{HOST}:{port}" for port in free_ports(count)]
    environments = []
    for index, (start, stop) in enumerate(balanced_ranges(len(gpus), count)):
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": addresses}, "task": task}
        environment = {**os.environ, "TF_CONFIG": json.dumps(cluster), "PYTHONUNBUFFERED": "1"}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[start:stop])
        environments.append(environment)
    return environments


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as stack:
        # All are held at once, so that none is given twice.
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]


def visible_gpus() -> list[str]:
    """The names by which `CUDA_VISIBLE_DEVICES` knows the GPUs that this process sees."""
    count = len(tf.config.list_physical_devices("GPU"))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(i) for i in range(count)]


def _start(program, environment):
    return subprocess.Popen(
        [sys.executable, *program],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,  # with this a bar's carriage return ends a line too
        errors="replace",
        # A group of its own: ended with all that it started, and not by the terminal's Ctrl-C.
        start_new_session=True,
    )


def _forward(index, process):
    try:
        with process.stdout:
            for line in process.stdout:
                if line.strip():
                    sys.stdout.write(f"[worker {index}] {line.rstrip()}\n")
                    sys.stdout.flush()
    except BrokenPipeError:  # nobody listens any more
        os.kill(os.getpid(), signal.SIGTERM)


def _wait(index, process, ended):
    ended.put((index, process.wait()))


def _end(processes):
    """End them and what they have started: politely at first."""
    for process in processes:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_TO_END
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, number)


def _how(status):
    if status > 0:
        return f"failed with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Let the signals that would end this process unwind it, so that it ends its workers."""

    def leave(number, frame) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
