"""`examples/feature_spheres.py`: train, draw and measure feature spheres."""

from collections.abc import Sequence
from pathlib import Path

from keras_sphereface.config import SpheresConfig
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_config
from keras_sphereface.experiments.feature_spheres.run import feature_spheres


def main(argv: Sequence[str] | None = None) -> None:
    """Parse a command line, make the spheres, and print their statistics."""
    config = parse_config(SpheresConfig, argv)
    with errors_in_one_sentence():
        feature_spheres(config)
    print((Path(config.out) / "spheres.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
