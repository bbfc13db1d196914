"""Settings of the demo."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Do the whole job on generated faces: faces, records, training, verification, spheres.

    Example:

    >>> DemoConfig().out
    'runs/demo'
    """

    example: ClassVar[str] = "--out runs/demo"

    out: str = setting(
        "runs/demo",
        "Folder for everything; what an earlier demo left there is replaced.",
        path="output",
    )
    seed: int = setting(0, "Seed for faces, start weights, shuffling and augmentation.", minimum=0)
