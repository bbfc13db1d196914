"""`sphereface launch`: run a command or a program as several workers on this machine."""

from keras_sphereface.commands.registry import COMMANDS
from keras_sphereface.config import LaunchConfig
from keras_sphereface.distribute.launcher import launch


def run_launch(config: LaunchConfig) -> int:
    """Launch the workers; return the exit status of the first that failed, or 0."""
    program = config.program
    if program and program[0] in COMMANDS:
        program = ("-m", "keras_sphereface", *program)
    return launch(program, config.workers)
