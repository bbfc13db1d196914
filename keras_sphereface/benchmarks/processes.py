"""Measurements in separate processes: alone, or as cases of an interleaved timing.

A process that starts anew inherits neither the memory nor the compiled functions of another.
"""

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import keras
import tensorflow as tf

from keras_sphereface.utils.progress import stage
from keras_sphereface.utils.startup import without_start_up_lines

ANSWER_SECONDS = 600.0  # to wait for an answer; the first round compiles
END_SECONDS = 10.0  # that a process has to end before it is killed

Result = TypeVar("Result")


def in_new_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)`, computed in a process started anew.

    Example:
        >>> in_new_process(max, 1, 2)
        2
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        with stage("starting a process"):
            pool.submit(_imported).result()
        return pool.submit(function, *arguments).result()


def _imported() -> None:
    """Return when a process has imported this module, and with it TensorFlow."""
    with without_start_up_lines():
        tf.config.list_physical_devices()  # the drivers complain when they are first asked


@dataclasses.dataclass(frozen=True)
class Program:
    """The work of a process: it calls `function(connection, *arguments)`.

    Attributes:
        function: Receives a message for each round, and sends a number for each.
        arguments: Whatever can be pickled.
        environment: Environment variables beside those that the process inherits.
    """

    function: Callable[..., None]
    arguments: tuple[Any, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


class ProcessCase:
    """A case of an interleaved timing that consists of processes; a context manager.

    Args:
        name: String. Name of the case, and of the files with what the processes print.
        folder: Folder for these files.
        programs: One for each process.
    """

    def __init__(self, name: str, folder: Path, programs: Sequence[Program]) -> None:
        self.name = name
        self.connections: list[Connection] = []
        self.processes: list[Any] = []
        self.logs: list[Path] = []
        context = multiprocessing.get_context("spawn")
        for index, program in enumerate(programs):
            ours, theirs = context.Pipe()
            log = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{index}.txt"
            arguments = (program, theirs, str(log))
            # A daemon does not outlive this process.
            self.processes.append(context.Process(target=_serve, args=arguments, daemon=True))
            self.connections.append(ours)
            self.logs.append(log)
            # Not in the process itself: TensorFlow reads some variables where it is imported.
            with _environment(program.environment):
                self.processes[-1].start()
            theirs.close()

    def run_round(self) -> float:
        """Let every process do one round; returns the highest number that they send.

        Raises:
            RuntimeError: If a process ends, or sends nothing in `ANSWER_SECONDS`.
        """
        try:
            for connection in self.connections:
                connection.send("go")
            answers = []
            for connection in self.connections:
                if not connection.poll(ANSWER_SECONDS):
                    raise TimeoutError
                answers.append(connection.recv())
            return max(answers)
        except (OSError, EOFError) as error:
            raise RuntimeError(
                f"A process of the case {self.name!r} ended or did not answer; its output is in "
                f"{', '.join(map(str, self.logs))}."
            ) from error

    def __enter__(self) -> "ProcessCase":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            process.join(END_SECONDS)
            process.kill()
            process.join()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block lasts."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def _serve(program: Program, connection: Connection, log: str) -> None:
    """Run a program in its process, with all output in a file."""
    with open(log, "w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    program.function(connection, *program.arguments)


class RoundTimer(keras.callbacks.Callback):
    """Callback that makes `num_steps` training steps a round of a `ProcessCase`.

    It waits for a message before each round, sends the seconds after it, and ends the process
    when there are no more rounds.

    Args:
        connection: Connection to the process that measures.
        num_steps: Int >= 1. Steps of a round.
    """

    def __init__(self, connection: Connection, num_steps: int) -> None:
        super().__init__()
        self.connection, self.num_steps = connection, num_steps

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if batch % self.num_steps == 0:
            try:
                self.connection.recv()
            except EOFError:
                sys.exit()
            self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (batch + 1) % self.num_steps == 0:
            # Devices run ahead of the program: reading a weight waits for the step.
            self.model.trainable_weights[-1].numpy()
            self.connection.send(time.perf_counter() - self.start)
