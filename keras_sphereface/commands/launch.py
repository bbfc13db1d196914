"""`tools/launch_local.py`: run a program as several workers on this machine."""

from keras_sphereface.config import LaunchConfig
from keras_sphereface.config.parsing import errors_in_one_sentence
from keras_sphereface.distribute.launcher import launch


def run_launch(config: LaunchConfig) -> int:
    """Launch the workers; return the exit status of the first that failed, or 0."""
    with errors_in_one_sentence():
        return launch(config.program, config.workers)
