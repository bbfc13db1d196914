"""What a training run says while it runs: progress, log, and what goes wrong."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_sphereface.callbacks.convergence_guard import ConvergenceWatch
from keras_sphereface.config import TrainConfig
from keras_sphereface.distribute.strategy import is_chief
from keras_sphereface.training.overview import estimate
from keras_sphereface.training.trainer import ANGLE_BINS, MEANS, Trainer
from keras_sphereface.training.training_log import TrainingLog
from keras_sphereface.utils.progress import log, progress_bar

ESTIMATE_AFTER = 50  # steps


class LogAccumulator(tf.Module):
    """What the steps since the last row of the log have summed up to; kept in checkpoints."""

    def __init__(self):
        super().__init__()
        sums = np.zeros(len(MEANS) + ANGLE_BINS)
        self.sums = tf.Variable(sums, trainable=False, dtype=tf.float64)
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64)


class TrainingMonitor:
    """Takes the sums of one step after another; a context manager. Only the chief says anything.

    Args:
        trainer: what is trained; its step is where the run begins or goes on.
        config: the settings of the run.
        num_images: in an epoch.
        total_steps: at which the run ends.
        open_row: with what the log goes on.
    """

    def __init__(
        self,
        trainer: Trainer,
        config: TrainConfig,
        num_images: int,
        total_steps: int,
        open_row: LogAccumulator,
    ):
        self.config, self.rate = config, trainer.rate
        self.num_images, self.total_steps = num_images, total_steps
        self.start_step = trainer.step
        self.open_row = open_row
        self.sums_before, self.steps_before = open_row.sums.numpy(), int(open_row.steps)
        self.chief = is_chief(trainer.strategy)
        self.log = TrainingLog(Path(config.workdir), trainer.step) if self.chief else None
        self.progress = progress_bar(
            total=total_steps,
            initial=trainer.step,
            unit="step",
            desc="training",
            disable=not self.chief,
        )
        self.watch = ConvergenceWatch(trainer.head, patience=max(200, total_steps // 20))
        self.sums: list[tf.Tensor] = []
        self.began, self.seconds_paused = time.monotonic(), 0.0
        self.row_began = self.first_done = 0.0  # on this clock

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.progress.close()
        if self.log:
            self.log.close()

    def see(self, step: int, sums: tf.Tensor) -> dict[str, float]:
        """Take the sums of `step`; returns the row of the log if there is one, else nothing.

        Raises:
            FloatingPointError: if there is a row and its loss is not finite.
        """
        self.sums.append(sums)
        self.progress.update()
        row = {}
        if step == self.total_steps or step % self.config.log_steps == 0:
            row = self._row(step)
        done = step - self.start_step
        if done == 1:
            self.check_finite(step)  # which waits for the step
            self.first_done = self._clock()  # the first step compiles and says nothing of others
        elif done == 1 + ESTIMATE_AFTER and self.chief:
            self.check_finite(step)
            seconds = self._clock() - self.first_done
            batch_size, left = self.config.batch_size, self.total_steps - step
            log(estimate(ESTIMATE_AFTER, left, seconds, batch_size))
        return row

    def verified(self, step: int, metrics: dict) -> None:
        """Say what a verification of pairs gave."""
        if self.log:
            names = ("accuracy_mean", "auc", "eer")
            self.log.scalars(step, {f"verification_{name}": metrics[name] for name in names})
            log(
                f"step {step}: {100 * metrics['accuracy_mean']:.2f} % of "
                f"{metrics['num_pairs']:,} pairs, AUC {metrics['auc']:.4f} "
                f"({metrics['seconds']:.1f} s)"
            )

    def keep(self) -> None:
        """Put what a checkpoint needs into the open row."""
        self.open_row.sums.assign(self._sums())
        self.open_row.steps.assign(self.steps_before + len(self.sums))

    def check_finite(self, step: int, weights_are_finite: bool = True) -> None:
        """Raise if the loss of the last step, or what it made of the weights, is not finite.

        Raises:
            FloatingPointError: with what helps.
        """
        if self.sums:
            self._check_finite(float(self.sums[-1][0]), step)
        if not weights_are_finite:
            self._diverged(f"Weights are not finite after step {step}")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What takes place in this block does not count as training in images a second."""
        start = time.monotonic()
        yield
        self.seconds_paused += time.monotonic() - start

    def _clock(self):
        return time.monotonic() - self.began - self.seconds_paused

    def _sums(self):
        # In this order, so that a run that was stopped rounds as one that was not.
        return np.sum([self.sums_before, *(tensor.numpy() for tensor in self.sums)], axis=0)

    def _row(self, step):
        batch_size, steps = self.config.batch_size, self.steps_before + len(self.sums)
        sums = self._sums()
        means, angles = sums[: len(MEANS)] / (steps * batch_size), sums[len(MEANS) :]
        row = {
            "step": step,
            "epoch": step * batch_size / self.num_images,
            **dict(zip(MEANS, means.tolist(), strict=True)),
            "learning_rate": float(self.rate(step - 1)),
            "images_per_second": len(self.sums) * batch_size / (self._clock() - self.row_began),
        }
        if self.log:
            self.log.write(row, angles)
        self.progress.set_postfix_str(
            f"loss {row['loss']:.3f} accuracy {row['accuracy']:.3f} "
            f"lambda {row['annealing_lambda']:.1f} angle {row['target_angle']:.1f} "
            f"|x| {row['embedding_norm']:.1f} {row['images_per_second']:.0f} images/s"
        )
        self._check_finite(row["loss"], step)
        message = self.watch.see(row["loss"], norm=row["embedding_norm"], steps=steps)
        if message and self.chief:
            self.progress.write(f"step {step}: {message}", file=sys.stderr)
        self.sums_before, self.steps_before = np.zeros_like(sums), 0
        self.sums, self.row_began = [], self._clock()
        return row

    def _check_finite(self, loss, step):
        if not np.isfinite(loss):
            self._diverged(f"The loss is {loss} at step {step}")

    def _diverged(self, get_meta):
        raise FloatingPointError(
            f"{get_meta}: the run diverged. A lower learning rate or a larger lambda_min helps, in "
            f"another workdir. Received: learning_rate={self.config.learning_rate}, "
            f"lambda_min={self.config.lambda_min}"
        )
