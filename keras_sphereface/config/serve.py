"""Settings of the service over HTTP."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.compare import (
    ALIGNED_HELP,
    DETECTOR_HELP,
    NETWORK_HELP,
    NETWORK_ORIGIN,
)
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class ServeConfig:
    """Compare faces and find identities over HTTP, with a page for people and one for programs.

    Without further flags only this machine is answered. An address that others reach needs an API
    key, in the variable SPHEREFACE_API_KEY or a file. Images are not kept, and neither they nor
    embeddings nor names are logged.

    Example:
        >>> ServeConfig(model="model.onnx", aligned=True).port
        8000
    """

    example: ClassVar[str] = "--model runs/first/export --detector mtcnn --gallery people.db"

    model: str = setting(help=NETWORK_HELP, path="input", origin=NETWORK_ORIGIN)
    detector: str = setting("", DETECTOR_HELP)
    aligned: bool = setting(False, ALIGNED_HELP)
    gallery: str = setting(
        "",
        "File of a gallery, to enroll and identify; it is created if there is none.",
        path="output-file",
    )
    host: str = setting("127.0.0.1", "Address to listen at; 0.0.0.0 is every one of this machine.")
    port: int = setting(8000, "Port to listen at; 0 takes any that is free.", minimum=0)
    api_key_file: str = setting(
        "", "File whose first line is the API key that requests need.", path="file"
    )
    allowed_host: tuple[str, ...] = setting(
        (),
        "Further names of this service, in the header Host, that are answered without a key.",
        group="limits",
    )
    max_upload_mb: int = setting(
        16,
        "Megabytes (2^20 bytes) of a request, with all of its images.",
        group="limits",
        minimum=1,
    )
    max_pixels: int = setting(
        25_000_000, "Pixels of an image, height times width.", group="limits", minimum=1
    )
    queue_size: int = setting(
        64, "Requests in service; one more is answered by 503.", group="limits", minimum=1
    )
    batch_size: int = setting(32, "Faces embedded at once.", group="limits", minimum=1)
    answer_seconds: float = setting(
        30.0, "Seconds > 0 from a request to its answer, or to 504.", group="limits"
    )
