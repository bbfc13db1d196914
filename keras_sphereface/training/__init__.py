"""Training: records in, checkpoints, logs, a summary and a SavedModel out."""

from keras_sphereface.backend import only_tensorflow

only_tensorflow(__name__)

from keras_sphereface.training.averaging import (  # noqa: E402
    average_checkpoints,
    recompute_batch_norm,
)
from keras_sphereface.training.schedules import LearningRate  # noqa: E402
from keras_sphereface.training.train import train  # noqa: E402

__all__ = [
    "LearningRate",
    "average_checkpoints",
    "recompute_batch_norm",
    "train",
]
