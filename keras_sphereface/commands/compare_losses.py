"""`examples/compare_losses.py`: train and verify with every loss."""

from collections.abc import Sequence
from pathlib import Path

from keras_sphereface.config import CompareConfig
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_config
from keras_sphereface.experiments.compare_losses.run import compare_losses


def main(argv: Sequence[str] | None = None) -> None:
    """Parse a command line, compare the losses, and print the report."""
    config = parse_config(CompareConfig, argv)
    with errors_in_one_sentence():
        compare_losses(config)
    print((Path(config.out) / "losses.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
