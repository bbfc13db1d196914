"""Several workers of one training on this machine: processes that know each other's address."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn, TextIO

import tensorflow as tf

from keras_sphereface.distribute.collectives import balanced_ranges
from keras_sphereface.utils.progress import WARNING, warn

SECONDS_TO_END = 10.0  # between asking a worker to end and killing it
SECONDS_BETWEEN_POLLS = 0.05
HOST = "127.0.0.1"


def launch(program: Sequence[str], workers: int = 2) -> int:
    """Run a Python program as several workers; every line of their output gets a prefix.

    `TF_CONFIG` gives each worker its index and all addresses; see `make_strategy`. The GPUs are
    divided among the workers. When a worker fails, the others are ended, and so are all when this
    process is interrupted or terminated.

    Args:
        program: Arguments of `python`: a script and its arguments.
        workers: Int >= 1. Number of processes.

    Returns:
        0, or the exit status of the first worker that failed: 128 + n if signal n ended it.

    Raises:
        ValueError: If there is no program, no worker, or a worker without a GPU.

    Example:
        >>> launch(["-c", "print('hello')"], workers=1)
        [worker 0] hello
        0
    """
    if not program:
        raise ValueError(
            "The program must follow a lone `--`: a script and its arguments. Received: nothing"
        )
    environments = worker_environments(workers, visible_gpus())
    processes: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []
    warned: dict[str, int] = {}  # {warning: the worker that wrote it first}
    with _signals_raise():
        try:
            for index, environment in enumerate(environments):
                processes.append(_start(program, environment))
                threads += _forwarders(index, processes[-1], warned)
            return _wait(processes)
        finally:
            _end(processes)
            for thread in threads:
                # A process that a worker has started may keep its output open.
                thread.join(SECONDS_TO_END)


def worker_environments(count: int, gpus: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the environments of workers that train together on this machine.

    Args:
        count: Int >= 1. Number of workers.
        gpus: Names of GPUs for `CUDA_VISIBLE_DEVICES`, which are divided among the workers.

    Raises:
        ValueError: If there is no worker, or there are fewer GPUs than workers.
    """
    if count < 1:
        raise ValueError(f"`workers` must be >= 1. Received: workers={count}")
    if 0 < len(gpus) < count:
        raise ValueError(
            "`workers` must be at most the number of GPUs; an empty CUDA_VISIBLE_DEVICES hides "
            f"them. Received: workers={count}, {len(gpus)} GPUs"
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
    """Return different ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as stack:
        # All are held at once, so that none comes twice.
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in sockets]


def visible_gpus() -> list[str]:
    """Return the names by which `CUDA_VISIBLE_DEVICES` knows the GPUs of this process."""
    count = len(tf.config.list_physical_devices("GPU"))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(i) for i in range(count)]


def _start(program: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,  # with this a carriage return ends a line too
        errors="replace",
        # A new process group: it is ended as a whole, and not by the terminal's Ctrl-C.
        start_new_session=True,
    )


def _forwarders(
    index: int, process: subprocess.Popen[str], warned: dict[str, int]
) -> list[threading.Thread]:
    """Start the threads that print the output and the errors of a worker."""
    threads = []
    for stream, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
        arguments = (index, stream, target, warned)
        threads.append(threading.Thread(target=_forward, args=arguments, daemon=True))
        threads[-1].start()
    return threads


def _forward(index: int, stream: TextIO, target: TextIO, warned: dict[str, int]) -> None:
    """Print what a worker writes to a stream, line by line; a warning of several workers once."""
    try:
        with stream:
            for line in stream:
                if line.startswith(WARNING) and warned.setdefault(line, index) != index:
                    continue
                if line.strip():
                    target.write(f"[worker {index}] {line.rstrip()}\n")
                    target.flush()
    except BrokenPipeError:  # the reader of the output has ended
        os.kill(os.getpid(), signal.SIGTERM)


def _wait(processes: Sequence[subprocess.Popen[str]]) -> int:
    """Wait until all have ended, or one has failed; return the status that `launch` returns."""
    while True:
        statuses = [process.poll() for process in processes]
        for index, status in enumerate(statuses):
            if status:
                warn(f"worker {index} {_cause(status)}; the others are ended")
                return status if status > 0 else 128 - status
        if None not in statuses:
            return 0
        time.sleep(SECONDS_BETWEEN_POLLS)


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End the workers and all that they have started: first by SIGTERM, then by SIGKILL."""
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


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, number)


def _cause(status: int) -> str:
    if status > 0:
        return f"failed with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Let the signals that would end this process unwind it, so that it ends its workers."""
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def leave(received: int, frame: FrameType | None) -> NoReturn:
        for number in numbers:  # another one must not interrupt the ending of the workers
            signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + received)

    handlers = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
