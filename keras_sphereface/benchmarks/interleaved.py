"""Processes of a benchmark that take turns, so that whatever slows the machine slows all alike."""

import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_sphereface.distribute.launcher import SECONDS_TO_END

WAIT = 600.0  # seconds for an answer; the first one compiles


class Program(NamedTuple):
    """What a process does: it calls `function(connection, *arguments)`."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]
    environment: dict[str, str]  # beside the one that it inherits


class Case:
    """The processes of a case; a context manager, which ends them."""

    def __init__(self, name: str, folder: Path, programs: Sequence[Program]):
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
            self.processes[-1].start()
            theirs.close()

    def turn(self) -> float:
        """Let the processes do what they do in a turn; returns the highest of their answers.

        Raises:
            RuntimeError: if one ends, or does not answer.
        """
        try:
            for connection in self.connections:
                connection.send("go")
            answers = []
            for connection in self.connections:
                if not connection.poll(WAIT):
                    raise TimeoutError
                answers.append(connection.recv())
            return max(answers)
        except (OSError, EOFError) as error:
            raise RuntimeError(
                f"A process of the case {self.name!r} has ended or does not answer; what it said "
                f"is in {', '.join(map(str, self.logs))}."
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            process.join(SECONDS_TO_END)
            process.kill()
            process.join()


def _serve(program, connection, log):
    """In a process of a case: everything that it says goes to a file."""
    os.environ.update(program.environment)
    with open(log, "w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    program.function(connection, *program.arguments)


class TakesTurns(keras.callbacks.Callback):
    """Waits in front of every `steps` steps for a word, and answers with the seconds they took."""

    def __init__(self, connection: Connection, steps: int):
        super().__init__()
        self.connection, self.steps = connection, steps

    def on_train_batch_begin(self, batch, logs=None):
        if batch % self.steps == 0:
            try:
                self.connection.recv()
            except EOFError:  # there are no more turns
                sys.exit()
            self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self.steps == 0:
            # Devices work on their own: what a step changes is there when the step is over.
            self.model.trainable_weights[-1].numpy()
            self.connection.send(time.perf_counter() - self.began)
