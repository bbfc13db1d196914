"""Training: records in, checkpoints, logs, a summary and a SavedModel out."""

from keras_sphereface.training.schedules import LearningRate
from keras_sphereface.training.train import train

__all__ = [
    "LearningRate",
    "train",
]
