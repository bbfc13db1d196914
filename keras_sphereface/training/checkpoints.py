"""Checkpoints that are whole or not there, and the newest one that can be read."""

import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_sphereface.distribute.strategy import (
    all_gather_int,
    assert_equal_across_workers,
    is_chief,
    wait_for_all,
)
from keras_sphereface.heads.sharded import ShardedHead
from keras_sphereface.utils.atomic import commit_directory, partial_folder, recover
from keras_sphereface.utils.progress import log

FOLDER = re.compile(r"step-(\d+)")
WEIGHTS = "weights"
# What a file that was cut short, changed or lost gives.
DAMAGE = (
    *(tf.errors.OpError, OSError, ValueError, AssertionError),
    # Of a zip, also one that seems to want a password; of TensorFlow, where data are missing.
    *(zipfile.BadZipFile, EOFError, RuntimeError, LookupError),
)


class Checkpoints:
    """The checkpoints of a run, `FOLDER/step-00001000` and so on.

    Each holds a `tf.train.Checkpoint` named `weights` and, where classes are split, their
    weights by class. It is written under a hidden name first. Every worker takes part in saving
    and restoring, on a folder that all share; the chief writes, and each worker its own classes.

    Args:
        folder: where they go.
        kept: how many of the newest stay.
        strategy: whose workers take part.
        split: the class weights, where they are split.
        objects: what `tf.train.Checkpoint` keeps, by name.
    """

    def __init__(
        self,
        folder: Path,
        kept: int,
        strategy: tf.distribute.Strategy,
        split: ShardedHead | None = None,
        **objects: Any,
    ):
        self.folder, self.kept = folder, kept
        self.strategy, self.split = strategy, split
        self.checkpoint = tf.train.Checkpoint(**objects)

    def steps(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        if not self.folder.is_dir():
            return []
        matches = map(FOLDER.fullmatch, (path.name for path in self.folder.iterdir()))
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def save(self, step: int) -> None:
        """Write the checkpoint of this step, then remove those that are too old.

        Raises:
            OSError, tf.errors.OpError: if it cannot be written; those before stay.
        """
        target, chief = self.path(step), is_chief(self.strategy)
        partial = partial_folder(target)
        if chief:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        wait_for_all(self.strategy)
        if chief:
            self.checkpoint.write(str(partial / WEIGHTS))
        else:  # it takes part, but what it has to say is the same
            with tempfile.TemporaryDirectory() as elsewhere:
                self.checkpoint.write(str(Path(elsewhere) / WEIGHTS))
        if self.split:
            self.split.save(partial)
        wait_for_all(self.strategy)
        if chief:
            commit_directory(target)
            for old in self.steps()[: -self.kept]:
                shutil.rmtree(self.path(old))

    def newest_step(self) -> int:
        """The step of the newest checkpoint, readable or not; -1 if there is none.

        What a save that was killed has left is put right.

        Raises:
            ValueError: if the workers see different ones.
        """
        if is_chief(self.strategy) and self.folder.is_dir():
            for partial in self.folder.glob(".step-*.replaced"):
                recover(self.folder / partial.name[1 : -len(".replaced")])
            for partial in self.folder.glob(".step-*.partial"):
                shutil.rmtree(partial)
        wait_for_all(self.strategy)
        newest = max(self.steps(), default=-1)
        assert_equal_across_workers(
            self.strategy,
            newest,
            f"The newest checkpoint in {self.folder}, which must be one folder for all workers,",
        )
        return newest

    def restore(self) -> int | None:
        """Restore the newest checkpoint that can be read, and say which ones cannot.

        Returns:
            Its step; None if there is no checkpoint.

        Raises:
            ValueError: if there are checkpoints and none can be read, or workers see other ones.
        """
        self.newest_step()
        steps = self.steps()
        damaged: list[int] = []
        for step in reversed(steps):
            try:
                self.checkpoint.read(str(self.path(step) / WEIGHTS)).assert_consumed()
                if self.split:
                    self.split.restore(self.path(step))
                good = True
            except DAMAGE as error:
                good = False
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                log(f"The checkpoint of step {step} cannot be read: {reason}")
            # Classes that are split are read by one worker each.
            if all(all_gather_int(self.strategy, good)):
                self._set_aside(damaged)
                return step
            damaged.append(step)
        if steps:
            raise ValueError(f"None of the checkpoints in {self.folder} can be read.")
        return None

    def _set_aside(self, damaged):
        """Give those that are damaged a name under which they are not looked for."""
        for step in damaged if is_chief(self.strategy) else []:
            aside = self.path(step).with_suffix(".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            self.path(step).rename(aside)
            log(f"It is now {aside.name}; the one before it is taken.")
