"""The networks of the paper, from images to embeddings."""

from keras_sphereface.models.sphereface import (
    sphereface,
    sphereface4,
    sphereface10,
    sphereface20,
    sphereface36,
    sphereface64,
)

__all__ = [
    "sphereface",
    "sphereface4",
    "sphereface10",
    "sphereface20",
    "sphereface36",
    "sphereface64",
]
