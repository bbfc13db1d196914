"""Checkpoints that are whole or absent, and the newest one that can be read."""

import errno
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
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
from keras_sphereface.utils.atomic import (
    commit_directory,
    partial_folder,
    recover,
    removed_on_failure,
)
from keras_sphereface.utils.progress import log

FOLDER = re.compile(r"step-(\d+)")
HIDDEN_FOLDER = re.compile(r"\.(step-\d+)\.(partial|replaced)")
WEIGHTS = "weights"
# The errors of a file that was cut short, changed or lost.
DAMAGE = (
    *(tf.errors.OpError, OSError, ValueError, AssertionError),
    # Of a zip, also one that seems to want a password; of TensorFlow, where data are missing.
    *(zipfile.BadZipFile, EOFError, RuntimeError, LookupError),
)
# Those among them that are of the machine and say nothing about the file.
OF_THE_MACHINE = (
    *(tf.errors.ResourceExhaustedError, tf.errors.CancelledError, tf.errors.PermissionDeniedError),
    *(tf.errors.AbortedError, tf.errors.UnavailableError, tf.errors.DeadlineExceededError),
)
# TensorFlow raises some as errors of no kind, with the words of the system.
SYSTEM_ERRORS = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE, errno.ENOTCONN),
)
WORDS = re.compile("|".join(map(os.strerror, SYSTEM_ERRORS)) + "|out of memory", re.IGNORECASE)


def is_damage(error: Exception) -> bool:
    """Return whether an error in reading a checkpoint means that its files are damaged.

    Example:
        >>> is_damage(EOFError()), is_damage(MemoryError()), is_damage(OSError(errno.EIO, ''))
        (True, False, False)
    """
    if not isinstance(error, DAMAGE) or isinstance(error, OF_THE_MACHINE):
        return False
    return getattr(error, "errno", None) not in SYSTEM_ERRORS and not WORDS.search(str(error))


class Checkpoints:
    """The checkpoints of a run, `FOLDER/step-00001000` and so on.

    Each holds a `tf.train.Checkpoint` named `weights` and, where classes are sharded, their
    weights by class. It is written under a hidden name first, so that a kill at any moment leaves
    the one before. Every worker takes part in saving and restoring, on a folder that all share;
    the chief writes, and each worker its own classes.

    Args:
        folder: Where they are.
        max_to_keep: Int >= 1. Number of the newest that stay.
        strategy: Its workers take part.
        objects: What `tf.train.Checkpoint` keeps, by name.
        sharded_head: Class weights by replica; None: all weights are in `objects`.
    """

    def __init__(
        self,
        folder: Path,
        max_to_keep: int,
        strategy: tf.distribute.Strategy,
        objects: Mapping[str, Any],
        sharded_head: ShardedHead | None = None,
    ) -> None:
        self.folder, self.max_to_keep = folder, max_to_keep
        self.strategy, self.sharded_head = strategy, sharded_head
        self.checkpoint = tf.train.Checkpoint(**objects)

    def steps(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        paths = self.folder.iterdir() if self.folder.is_dir() else ()
        matches = (FOLDER.fullmatch(path.name) for path in paths)
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of a step."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int) -> None:
        """Write the checkpoint of this step, then remove those that are too old.

        Raises:
            OSError, tf.errors.OpError: If it cannot be written; those before stay.
        """
        target = self.path(step)
        partial = partial_folder(target)
        if not is_chief(self.strategy):
            self._write(partial)
            return
        shutil.rmtree(partial, ignore_errors=True)
        with removed_on_failure(partial):
            partial.mkdir(parents=True)
            self._write(partial)
            commit_directory(target)
        for old in self.steps()[: -self.max_to_keep]:
            shutil.rmtree(self.path(old))

    def _write(self, folder: Path) -> None:
        """Write the part of this worker into a folder that the chief has made, and wait for all."""
        wait_for_all(self.strategy)
        if is_chief(self.strategy):
            self.checkpoint.write(str(folder / WEIGHTS))
        else:  # it must take part, but would write the same
            with tempfile.TemporaryDirectory() as elsewhere:
                self.checkpoint.write(str(Path(elsewhere) / WEIGHTS))
        if self.sharded_head:
            self.sharded_head.save(folder)
        wait_for_all(self.strategy)

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint, readable or not; -1 if there is none.

        What a save that was killed has left is removed or put back.

        Raises:
            ValueError: If the workers see different ones.
        """
        if is_chief(self.strategy) and self.folder.is_dir():
            for path in list(self.folder.iterdir()):
                if match := HIDDEN_FOLDER.fullmatch(path.name):
                    recover(self.folder / match[1])
                    shutil.rmtree(path, ignore_errors=True)
        wait_for_all(self.strategy)
        newest = max(self.steps(), default=-1)
        assert_equal_across_workers(
            self.strategy,
            newest,
            f"The newest checkpoint in {self.folder}, which must be one folder for all workers,",
        )
        return newest

    def restore(self) -> int | None:
        """Restore the newest checkpoint that every worker can read; set newer ones aside.

        Returns:
            Its step; None if there is no checkpoint.

        Raises:
            ValueError: If there are checkpoints and none can be read, or workers see other ones.
        """
        self.newest_step()
        steps = self.steps()
        for index in reversed(range(len(steps))):
            # Sharded classes are read by one worker each.
            if all(all_gather_int(self.strategy, self._read(steps[index]))):
                self._set_aside(steps[index + 1 :])
                return steps[index]
        if steps:
            raise ValueError(
                f"None of the checkpoints in {self.folder} can be read; remove the folder to train "
                f"from the start. Received: steps {steps}"
            )
        return None

    def _read(self, step: int) -> bool:
        """Restore the checkpoint of a step; return False if it is damaged.

        Any other error, of full memory for example, passes: the checkpoint is as good as before.
        """
        try:
            self.checkpoint.read(str(self.path(step) / WEIGHTS)).assert_consumed()
            if self.sharded_head:
                self.sharded_head.restore(self.path(step))
        except Exception as error:
            if not is_damage(error):
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            log(f"The checkpoint of step {step} cannot be read: {reason}")
            return False
        return True

    def _set_aside(self, damaged: list[int]) -> None:
        """Rename damaged checkpoints, so that no restart tries them again."""
        for step in damaged if is_chief(self.strategy) else []:
            aside = self.path(step).with_suffix(".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            self.path(step).rename(aside)
            log(f"It is now {aside.name}; the checkpoint before it is restored.")
