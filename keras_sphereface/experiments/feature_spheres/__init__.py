"""Feature spheres: 2-D and 3-D embeddings of networks that differ in their loss only."""

from keras_sphereface.experiments.feature_spheres.page import Globe, render_globes
from keras_sphereface.experiments.feature_spheres.run import feature_spheres

__all__ = [
    "Globe",
    "feature_spheres",
    "render_globes",
]
