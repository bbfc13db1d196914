"""Train 2-D and 3-D embeddings for several m and draw them side by side.

    python examples/feature_spheres.py --out SPHERES

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.command_line import parse_config
from keras_sphereface.config import SpheresConfig
from keras_sphereface.spheres import feature_spheres

if __name__ == "__main__":
    config = parse_config(SpheresConfig)
    print(feature_spheres(config).to_string(index=False, float_format="{:.3g}".format))
    print(f"written to {config.out}")
