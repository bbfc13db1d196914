"""`sphereface average-checkpoints`: the mean of a run's checkpoints, exported."""

from keras_sphereface.config.average import AverageConfig
from keras_sphereface.training.averaging import average_checkpoints


def run_average_checkpoints(config: AverageConfig) -> None:
    """Average, export, and print the folder."""
    print(f"written to {average_checkpoints(config)}")
