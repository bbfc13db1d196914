"""Draw the geometry of the loss, and work out how large m must be.

    python examples/margin_figures.py --out MARGINS

Nothing is trained. `--help` lists the flags.
"""

from keras_sphereface.commands.margins import run_margins
from keras_sphereface.config import MarginFiguresConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_margins(parse_config(MarginFiguresConfig))
