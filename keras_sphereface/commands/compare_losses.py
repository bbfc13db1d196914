"""`sphereface compare-losses`: train and verify with every loss."""

from pathlib import Path

from keras_sphereface.config import CompareConfig
from keras_sphereface.experiments.compare_losses.run import compare_losses


def run_compare_losses(config: CompareConfig) -> None:
    """Compare the losses, and print the report."""
    compare_losses(config)
    print((Path(config.out) / "losses.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
