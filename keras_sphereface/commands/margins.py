"""`sphereface margins`: draw the geometry of the loss."""

from keras_sphereface.config import MarginFiguresConfig
from keras_sphereface.experiments.margin_figures import margin_figures


def run_margins(config: MarginFiguresConfig) -> None:
    """Draw the figures, and print the bounds of m."""
    print(margin_figures(config).to_string(index=False))
    print(f"written to {config.out}")
