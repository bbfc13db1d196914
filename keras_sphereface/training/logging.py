"""The log of a run: log.csv, TensorBoard and the progress bar, and the checks of its numbers."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from keras_sphereface.callbacks.convergence_guard import ConvergenceWatch
from keras_sphereface.evaluation.verification_metrics import VerificationMetrics
from keras_sphereface.heads.base import Head
from keras_sphereface.training.intervals import Intervals
from keras_sphereface.training.overview import remaining_time
from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.step import ANGLE_BINS, MEANS
from keras_sphereface.training.summary import LOG_FILE
from keras_sphereface.utils.progress import log, progress_bar, warn
from keras_sphereface.utils.tables import StepTable
from keras_sphereface.utils.text import counted

LOG_FIELDS = ("step", "epoch", *MEANS, "learning_rate", "images_per_second")
ESTIMATE_AFTER = 50  # steps
# The watch gives the names of arguments.
FLAGS_THAT_HELP = (
    "Begin again in another --workdir, for example with --optimizer adam, or with --learning-rate "
    "0.01 --margin-warmup-steps 1000."
)


class LogAccumulator(tf.Module):
    """The sums of the steps since the last row of the log; kept in checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        sums = np.zeros(len(MEANS) + ANGLE_BINS)
        self.sums = tf.Variable(sums, trainable=False, dtype=tf.float64)
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64)


class TrainingLog:
    """log.csv and TensorBoard; rows after `start_step`, which come again, are replaced."""

    def __init__(self, workdir: Path, start_step: int) -> None:
        self.table = StepTable(workdir / LOG_FILE, LOG_FIELDS, start_step)
        folder = workdir / "tensorboard"
        if list(folder.glob("*")):
            _discard_events_after(str(folder), start_step)
        self.board = tf.summary.create_file_writer(str(folder))

    def write(self, row: dict[str, float], angles: np.ndarray) -> None:
        """Add a row; `angles` (ANGLE_BINS,) counts samples by angle, for a histogram."""
        self.table.add(row)
        self.scalars(int(row["step"]), row)
        centers = (np.arange(ANGLE_BINS) + 0.5) * (180.0 / ANGLE_BINS)
        samples = np.repeat(centers, np.round(angles).astype(int))
        with self.board.as_default(step=row["step"]):
            tf.summary.histogram("target_angles", samples, buckets=ANGLE_BINS // 3)
        self.board.flush()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write numbers for TensorBoard alone."""
        with self.board.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.board.flush()


def _discard_events_after(folder: str, step: int) -> None:
    """Make TensorBoard drop what a run wrote after its last checkpoint."""
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    writer = EventFileWriter(folder)
    writer.add_event(event_pb2.Event(step=step + 1, session_log=start))
    writer.close()


class TrainingMonitor:
    """Takes the sums of one step after another, and logs; a context manager.

    Args:
        head: What is trained, for advice when it fails.
        rate: Learning rate over the steps.
        intervals: When there is a row of the log.
        start_step: Steps taken before.
        accumulator: Sums of these steps since the last row of the log.
        training_log: Where rows are written; None: another worker writes them.
    """

    def __init__(
        self,
        head: Head,
        rate: LearningRate,
        intervals: Intervals,
        start_step: int,
        accumulator: LogAccumulator,
        training_log: TrainingLog | None,
    ) -> None:
        self.head, self.rate, self.intervals = head, rate, intervals
        self.start_step, self.accumulator, self.log = start_step, accumulator, training_log
        self.sums_before, self.steps_before = accumulator.sums.numpy(), int(accumulator.steps)
        self.watch = ConvergenceWatch(head, patience=max(200, intervals.total_steps // 20))
        self.sums: list[tf.Tensor] = []
        self.seconds_paused = self.row_began = self.first_step_ended = 0.0

    def __enter__(self) -> "TrainingMonitor":
        self.began = time.monotonic()
        self.progress = progress_bar(
            total=self.intervals.total_steps,
            initial=self.start_step,
            unit="step",
            desc="compiling the first step",
            disable=self.log is None,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.progress.close(finished=error is None)
        if self.log:
            self.log.board.close()

    def add(self, step: int, sums: tf.Tensor) -> dict[str, float]:
        """Take the sums of `step`; return the row of the log if there is one, else {}.

        Raises:
            FloatingPointError: If there is a row and its loss is not finite.
        """
        self.sums.append(sums)
        self.progress.update()
        row = self._row(step) if self.intervals.logs_at(step) else {}
        steps_timed = step - self.start_step - 1
        if steps_timed == 0:
            self.check_finite(step)  # which waits for the step
            self.progress.describe("training")
            self.first_step_ended = self._clock()  # the first step is slower: it compiles
        elif steps_timed == ESTIMATE_AFTER and self.log:
            self.check_finite(step)
            seconds = self._clock() - self.first_step_ended
            left = self.intervals.total_steps - step
            log(remaining_time(ESTIMATE_AFTER, left, seconds, self.intervals.batch_size))
        return row

    def log_verification(self, step: int, metrics: VerificationMetrics, seconds: float) -> None:
        """Log the result of a verification of pairs."""
        if self.log:
            names = ("accuracy_mean", "auc", "eer")
            self.log.scalars(
                step, {f"verification_{name}": getattr(metrics, name) for name in names}
            )
            log(
                f"step {step}: {100 * metrics.accuracy_mean:.2f} % of "
                f"{counted(metrics.num_pairs, 'pair')}, AUC {metrics.auc:.4f} "
                f"({seconds:.1f} s)"
            )

    def save(self) -> None:
        """Bring the accumulator up to date, for a checkpoint."""
        self.accumulator.sums.assign(self._sums())
        self.accumulator.steps.assign(self.steps_before + len(self.sums))

    def check_finite(self, step: int, weights_are_finite: bool = True) -> None:
        """Raise if the loss of the last step, or what it made of the weights, is not finite.

        Raises:
            FloatingPointError: With advice.
        """
        if self.sums:
            self._check_loss(float(self.sums[-1][0]), step)
        if not weights_are_finite:
            self._diverged(f"Weights are not finite after step {step}")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of this block out of images per second."""
        start = time.monotonic()
        yield
        self.seconds_paused += time.monotonic() - start

    def _clock(self) -> float:
        """Seconds since the block began, without pauses."""
        return time.monotonic() - self.began - self.seconds_paused

    def _sums(self) -> np.ndarray:
        # In this order, so that a run that was stopped rounds as one that was not.
        return np.sum([self.sums_before, *(tensor.numpy() for tensor in self.sums)], axis=0)

    def _row(self, step: int) -> dict[str, float]:
        batch_size, steps = self.intervals.batch_size, self.steps_before + len(self.sums)
        sums = self._sums()
        means, angles = sums[: len(MEANS)] / (steps * batch_size), sums[len(MEANS) :]
        row = {
            "step": step,
            "epoch": step * batch_size / self.intervals.num_images,
            **dict(zip(MEANS, means.tolist(), strict=True)),
            "learning_rate": float(self.rate(step - 1)),
            "images_per_second": len(self.sums) * batch_size / (self._clock() - self.row_began),
        }
        if self.log:
            self.log.write(row, angles)
        self.progress.describe(
            notes=(
                f"loss {row['loss']:.3f}",
                f"accuracy {row['accuracy']:.3f}",
                f"lambda {row['annealing_lambda']:.1f}",
                f"angle {row['target_angle']:.1f}",
                f"|x| {row['embedding_norm']:.1f}",
                f"{row['images_per_second']:.0f} images/s",
            )
        )
        self._check_loss(row["loss"], step)
        advice = self.watch.add(row["loss"], norm=row["embedding_norm"], steps=steps)
        if advice and self.log:
            warn(f"step {step}: {advice} {FLAGS_THAT_HELP}")
        self.sums_before, self.steps_before = np.zeros_like(sums), 0
        self.sums, self.row_began = [], self._clock()
        return row

    def _check_loss(self, loss: float, step: int) -> None:
        if not np.isfinite(loss):
            self._diverged(f"The loss is {loss} at step {step}")

    def _diverged(self, cause: str) -> None:
        annealing = getattr(self.head, "annealing", None)
        larger_lambda = " or a larger `lambda_min`" if annealing else ""
        received = f", lambda_min={annealing.lambda_min}" if annealing else ""
        raise FloatingPointError(
            f"{cause}: the run diverged. Start again in another `workdir` with a lower "
            f"`learning_rate`{larger_lambda}. "
            f"Received: learning_rate={self.rate.learning_rate}{received}"
        )
