"""What a training run writes while it runs: log.csv and TensorBoard."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from keras_sphereface.training.summary import LOG_FILE
from keras_sphereface.training.trainer import ANGLE_BINS, MEANS
from keras_sphereface.utils.tables import StepTable

LOG_FIELDS = (
    "step",
    "epoch",
    *MEANS,  # with the margin: loss; without it: accuracy
    "learning_rate",
    "images_per_second",
)


class TrainingLog:
    """log.csv and TensorBoard, a row every `log_steps`; rows after `start_step` are redone."""

    def __init__(self, workdir: Path, start_step: int):
        self.table = StepTable(workdir / LOG_FILE, LOG_FIELDS, start_step)
        folder = str(workdir / "tensorboard")
        if list((workdir / "tensorboard").glob("*")):
            _forget_events_after(folder, start_step)
        self.board = tf.summary.create_file_writer(folder)

    def write(self, row: dict[str, float], angles: np.ndarray | None = None) -> None:
        """A row of the log; `angles` (ANGLE_BINS,) counts samples by angle, for a histogram."""
        self.table.add(row)
        self.scalars(int(row["step"]), row)
        if angles is not None:
            centers = (np.arange(ANGLE_BINS) + 0.5) * (180.0 / ANGLE_BINS)
            samples = np.repeat(centers, np.round(angles).astype(int))
            with self.board.as_default(step=row["step"]):
                tf.summary.histogram("target_angles", samples, buckets=ANGLE_BINS // 3)
            self.board.flush()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Further numbers for TensorBoard alone."""
        with self.board.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.board.flush()

    def close(self) -> None:
        self.board.close()


def _forget_events_after(folder: str, step: int) -> None:
    """Tell TensorBoard that what a run wrote after its last checkpoint comes again."""
    log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    writer = EventFileWriter(folder)
    writer.add_event(event_pb2.Event(step=step + 1, session_log=log))
    writer.close()
