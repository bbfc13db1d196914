"""`sphereface spheres`: train, draw and measure feature spheres."""

from pathlib import Path

from keras_sphereface.config import SpheresConfig
from keras_sphereface.experiments.feature_spheres.run import feature_spheres


def run_spheres(config: SpheresConfig) -> None:
    """Make the spheres, and print their statistics."""
    feature_spheres(config)
    print((Path(config.out) / "spheres.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
