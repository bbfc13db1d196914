"""Trainings in separate processes, on logical devices or as workers; some kill themselves.

The processes are forked from one that has imported TensorFlow: an import takes seconds.
"""

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.config import TrainConfig
from keras_sphereface.training import checkpoints
from tests.helpers.small_training import StopAfter

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
train_module = importlib.import_module("keras_sphereface.training.train")


class Training:
    """A process that trains once or several times, one run after the other.

    Args:
        folder: gets a file of what each run prints.
        runs: settings of the runs, with `stop_after` and `kill_after`, steps, and
            `kill_in_checkpoint`, the step of a checkpoint that is written and not yet in place.
        devices: number of logical devices.
        environment: of a worker.
    """

    def __init__(
        self,
        folder: Path,
        runs: Sequence[dict[str, Any]],
        devices: int = 1,
        environment: dict[str, str] | None = None,
    ):
        self.outputs = [folder / f"output-{i}.txt" for i in range(len(runs))]
        folder.mkdir(parents=True, exist_ok=True)
        arguments = (self.outputs, list(runs), devices, environment or {})
        self.process: BaseProcess = CONTEXT.Process(target=_train_all, args=arguments)
        self.process.start()

    def output(self, run: int = 0) -> str:
        """The text that a run has printed."""
        return self.outputs[run].read_text() if self.outputs[run].exists() else ""

    def finish(self, exitcode: int = 0, timeout: float = 200) -> str:
        """Wait until the process has ended as it should; return what the first run printed."""
        self.process.join(timeout)
        assert self.process.exitcode == exitcode, "\n".join(
            map(self.output, range(len(self.outputs)))
        )
        return self.output()


@contextlib.contextmanager
def training(folder: Path, *runs: dict[str, Any], **options: Any) -> Iterator[Training]:
    """A `Training` that does not outlive the block."""
    process = Training(folder, runs, **options)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.join()


def _train_all(outputs, runs, devices, environment):
    os.environ.update(environment)
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    # A process can join a cluster once.
    train_module.make_strategy = functools.cache(train_module.make_strategy)
    failed = False
    for output, run in zip(outputs, runs, strict=True):
        with open(output, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            _train(**run)
        except Exception:
            traceback.print_exc()
            failed = True
        sys.stdout.flush()
        sys.stderr.flush()
    # At once: a worker that has lost another may wait for it at the end.
    os._exit(int(failed))


def _train(stop_after=0, kill_after=0, kill_in_checkpoint=0, **settings):
    if kill_in_checkpoint:
        kill_before_in_place(kill_in_checkpoint)
    callbacks = [StopAfter(stop_after), KillAfter(kill_after)]
    train_module.train(TrainConfig(**settings), callbacks=callbacks)


class KillAfter(keras.callbacks.Callback):
    """Kills the process after a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_before_in_place(step):
    """Die with the checkpoint of this step written, under its hidden name."""
    commit_directory = checkpoints.commit_directory

    def commit_or_die(target):
        if target.name.endswith(f"{step:08d}"):
            os.kill(os.getpid(), signal.SIGKILL)
        commit_directory(target)

    checkpoints.commit_directory = commit_or_die
