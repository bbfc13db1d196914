"""Draw the geometry of the loss, and work out how large m must be.

    python examples/margin_figures.py --out MARGINS

Nothing is trained. `--help` lists the flags.
"""

from keras_sphereface.config import MarginFiguresConfig
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_config
from keras_sphereface.experiments.margin_figures import margin_figures

if __name__ == "__main__":
    config = parse_config(MarginFiguresConfig)
    with errors_in_one_sentence():
        print(margin_figures(config).to_string(index=False))
    print(f"written to {config.out}")
