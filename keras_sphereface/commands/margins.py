"""`examples/margin_figures.py`: draw the geometry of the loss."""

from collections.abc import Sequence

from keras_sphereface.config import MarginFiguresConfig
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_config
from keras_sphereface.experiments.margin_figures import margin_figures


def main(argv: Sequence[str] | None = None) -> None:
    """Parse a command line, draw the figures, and print the bounds of m."""
    config = parse_config(MarginFiguresConfig, argv)
    with errors_in_one_sentence():
        print(margin_figures(config).to_string(index=False))
    print(f"written to {config.out}")
