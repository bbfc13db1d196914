"""Settings of the mean of a run's checkpoints."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class AverageConfig:
    """Average the weights of a run's checkpoints, and export the network.

    The run has ended; keep more than its last two checkpoints by `train --keep-checkpoints`. The
    statistics of batch normalization are computed anew by the records of the run.

    Example:
        >>> AverageConfig(workdir="runs/first", out="averaged", steps=(26000, 27000)).batch_size
        64
    """

    example: ClassVar[str] = "--workdir runs/first --out runs/averaged"

    workdir: str = setting(help="Folder of the run.", path="folder")
    out: str = setting(help="Output folder: export and network.keras.", path="output")
    steps: tuple[int, ...] = setting(
        (), "Steps of the checkpoints to average; by default all that are there.", minimum=0
    )
    data: str = setting(
        "",
        "Folder of records for the statistics of batch normalization; by default that of the run.",
        path="folder",
    )
    num_images: int = setting(
        2048, "Largest number of images for these statistics, at least 1.", minimum=1
    )
    batch_size: int = setting(64, "Number of images in a batch of these, at least 2.", minimum=2)
