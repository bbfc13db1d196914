"""The learning rate over the steps: the authors' steps or a cosine, after a warm-up."""

import keras
import tensorflow as tf

SCHEDULES = ("steps", "cosine", "constant")


@keras.saving.register_keras_serializable(package="keras_sphereface")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of a run: a linear warm-up, then a schedule over the whole run.

    The warm-up multiplies the rate of step i, counted from 0, by min(1, (i + 1) / lr_warmup_steps).
    What it multiplies is, with T steps in all,

    - "steps": the authors' rate, times 0.1 from 4/7 T and from 6/7 T on (16,000 and 24,000 of
      28,000);
    - "cosine": rate (1 + cos(pi i / T)) / 2;
    - "constant": the rate.

    Args:
        learning_rate: the rate, >= 0.
        total_steps: T, >= 1.
        schedule: one of `SCHEDULES`.
        lr_warmup_steps: >= 0.

    Raises:
        ValueError: if `schedule` is another.
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        schedule: str = "steps",
        lr_warmup_steps: int = 0,
    ):
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.schedule = schedule
        self.lr_warmup_steps = lr_warmup_steps
        schedules = keras.optimizers.schedules
        if schedule == "steps":
            boundaries = [round(total_steps * n / 28) - 1 for n in (16, 24)]
            rates = [learning_rate * factor for factor in (1.0, 0.1, 0.01)]
            self.rest = schedules.PiecewiseConstantDecay(boundaries, rates)
        elif schedule == "cosine":
            self.rest = schedules.CosineDecay(learning_rate, total_steps)
        elif schedule == "constant":
            self.rest = lambda step: tf.constant(learning_rate, tf.float32)
        else:
            raise ValueError(
                f"`schedule` must be one of {', '.join(SCHEDULES)}. Received: schedule={schedule!r}"
            )

    def __call__(self, step):
        started = (tf.cast(step, tf.float32) + 1.0) / max(self.lr_warmup_steps, 1)
        return tf.minimum(started, 1.0) * tf.cast(self.rest(step), tf.float32)

    def get_config(self):
        names = ("learning_rate", "total_steps", "schedule", "lr_warmup_steps")
        return {name: getattr(self, name) for name in names}
