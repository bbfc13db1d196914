"""`sphereface train`: train a network and print where the export is."""

from keras_sphereface.config import TrainConfig
from keras_sphereface.training.train import train


def run_train(config: TrainConfig) -> None:
    """Train, print the folder of the export; errors that a user can mend end in one sentence."""
    folder = train(config)
    print(f"exported to {folder}")
