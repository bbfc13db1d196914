"""The steps of a run, with its callbacks, verifications, log and checkpoints."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.callbacks.pair_verification import PairVerification
from keras_sphereface.distribute.strategy import all_gather_int, num_workers
from keras_sphereface.training.checkpoints import Checkpoints
from keras_sphereface.training.intervals import Intervals
from keras_sphereface.training.logging import TrainingMonitor
from keras_sphereface.training.trainer import Trainer


class TrainingLoop:
    """Takes the steps of a run from the optimizer's to the last.

    Args:
        trainer: What is trained.
        intervals: When something is due.
        monitor: Takes the sums of every step, and logs them.
        checkpoints: Where the state is saved.
        callbacks: Keras callbacks; their model is the network.
        verification: Verifies pairs; None: nothing does.
    """

    def __init__(
        self,
        trainer: Trainer,
        intervals: Intervals,
        monitor: TrainingMonitor,
        checkpoints: Checkpoints,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verification: PairVerification | None = None,
    ) -> None:
        self.trainer, self.intervals = trainer, intervals
        self.monitor, self.checkpoints = monitor, checkpoints
        self.callbacks = keras.callbacks.CallbackList(list(callbacks), model=trainer.backbone)
        self.verification = verification

    def run(self, step_function: Callable[[Any], tf.Tensor], batches: Iterator[Any]) -> None:
        """Take the steps, until the last or until a callback stops the training.

        Raises:
            FloatingPointError: If the loss is no longer finite.
        """
        with self.monitor:
            self._run(step_function, batches)

    def _run(self, step_function: Callable[[Any], tf.Tensor], batches: Iterator[Any]) -> None:
        self.callbacks.on_train_begin()
        self.epoch = self.intervals.epoch_of(self.trainer.step)
        self.callbacks.on_epoch_begin(self.epoch)
        for step in range(self.trainer.step + 1, self.intervals.total_steps + 1):
            self.callbacks.on_train_batch_begin(step - 1)
            logs = self.monitor.add(step, step_function(batches))
            if self.intervals.saves_at(step) or self.intervals.verifies_at(step):
                self.monitor.check_finite(step)  # which waits for the device: it is no pause yet
            with self.monitor.paused():
                is_last = self._finish_step(step, logs)
            if is_last:
                break
        self.callbacks.on_train_end(logs)

    def _finish_step(self, step: int, logs: dict[str, float]) -> bool:
        """Do what is due after a step; returns whether it was the last one."""
        self.callbacks.on_train_batch_end(step - 1, logs)
        if self.intervals.epoch_of(step) > self.epoch:
            self.callbacks.on_epoch_end(self.epoch, logs)
            self.epoch = self.intervals.epoch_of(step)
            self.callbacks.on_epoch_begin(self.epoch)
        is_last = step == self.intervals.total_steps or self._is_stopped(step)
        if self.verification:
            self._verify(self.verification, step, is_last)
        if is_last or self.intervals.saves_at(step):
            # A run that diverged must not be continued from where it did.
            self.monitor.check_finite(step, self.trainer.is_finite)
            self.monitor.save()
            self.checkpoints.save(step)
        return is_last

    def _verify(self, verification: PairVerification, step: int, is_last: bool) -> None:
        due = is_last or self.intervals.verifies_at(step)
        with self.trainer.averaged() if due else contextlib.nullcontext():
            verification.on_train_batch_end(step - 1)
            if is_last:
                verification.on_train_end()

    def _is_stopped(self, step: int) -> bool:
        """Return whether a callback of any worker has stopped the training."""
        stopped = bool(getattr(self.trainer.backbone, "stop_training", False))
        # Workers ask each other seldom, since it takes time.
        if (
            num_workers(self.trainer.strategy) == 1
            or step % self.intervals.log_steps == 0
            or step % self.intervals.checkpoint_steps == 0
        ):
            return any(all_gather_int(self.trainer.strategy, stopped))
        return False
