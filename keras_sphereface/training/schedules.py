"""The learning rate over the steps: steps as in the paper or a cosine, after a warm-up."""

from typing import Any

import keras
import tensorflow as tf

from keras_sphereface.config.choices import SCHEDULES

# Arguments as files that were saved before their renaming hold them, and as they are now.
RENAMED = {"warmup_steps": "lr_warmup_steps"}


@keras.saving.register_keras_serializable(package="keras_sphereface")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate of a run: a linear warm-up, then a schedule over the whole run.

    The warm-up multiplies the rate of step i, counted from 0, by min(1, (i + 1) / lr_warmup_steps).
    The schedule that it multiplies is, with T steps in all,

    - "steps": the rate, times 0.1 from 4/7 T and times 0.01 from 6/7 T on, as the solver of
      Liu et al. (CVPR 2017) has it at 16,000 and 24,000 of 28,000 steps;
    - "cosine": rate (1 + cos(pi i / T)) / 2;
    - "constant": the rate.

    Args:
        learning_rate: Float >= 0. The highest rate.
        total_steps: Int >= 1. T, the steps of the run.
        schedule: One of `config.choices.SCHEDULES`.
        lr_warmup_steps: Int >= 0. Steps of the warm-up.

    Raises:
        ValueError: If `schedule` is another.

    Example:
        >>> rate = LearningRate(0.1, total_steps=28_000)
        >>> [round(float(rate(step)), 4) for step in (0, 16_000, 24_000)]
        [0.1, 0.01, 0.001]
    """

    def __init__(
        self,
        learning_rate: float,
        total_steps: int,
        schedule: str = "steps",
        lr_warmup_steps: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.schedule = schedule
        self.lr_warmup_steps = lr_warmup_steps
        self.boundaries: list[int] = []  # the last steps, counted from 0, before the rate drops
        schedules = keras.optimizers.schedules
        if schedule == "steps":
            self.boundaries = [round(total_steps * n / 28) - 1 for n in (16, 24)]
            rates = [learning_rate * factor for factor in (1.0, 0.1, 0.01)]
            self.after_warmup = schedules.PiecewiseConstantDecay(self.boundaries, rates)
        elif schedule == "cosine":
            self.after_warmup = schedules.CosineDecay(learning_rate, total_steps)
        elif schedule == "constant":
            self.after_warmup = lambda step: tf.constant(learning_rate, tf.float32)
        else:
            raise ValueError(
                f"`schedule` must be one of {', '.join(SCHEDULES)}. Received: schedule={schedule!r}"
            )

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        warmup = (tf.cast(step, tf.float32) + 1.0) / max(self.lr_warmup_steps, 1)
        return tf.minimum(warmup, 1.0) * tf.cast(self.after_warmup(step), tf.float32)

    def get_config(self) -> dict[str, Any]:
        names = ("learning_rate", "total_steps", "schedule", "lr_warmup_steps")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LearningRate":
        return cls(**{RENAMED.get(name, name): value for name, value in config.items()})
