"""`sphereface train`: train a network and print where the export is."""

from keras_sphereface.config import TrainConfig
from keras_sphereface.distribute.strategy import is_chief_process
from keras_sphereface.training.train import train


def run_train(config: TrainConfig) -> None:
    """Train, and print the folder of the export; of several workers the chief does."""
    folder = train(config)
    if is_chief_process():
        print(f"exported to {folder}")
