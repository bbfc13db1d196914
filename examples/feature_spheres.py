"""Train 2-D and 3-D embeddings with softmax and several m, and draw them side by side.

    python examples/feature_spheres.py --out SPHERES

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.commands.spheres import run_spheres
from keras_sphereface.config import SpheresConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_spheres(parse_config(SpheresConfig))
