"""Train 2-D and 3-D embeddings with softmax and several m, and draw them side by side.

    python examples/feature_spheres.py --out SPHERES

Without `--data` faces are generated. `--help` lists the flags.
"""

from pathlib import Path

from keras_sphereface.config import SpheresConfig
from keras_sphereface.config.parsing import errors_in_one_sentence, parse_config
from keras_sphereface.experiments.feature_spheres.run import feature_spheres

if __name__ == "__main__":
    config = parse_config(SpheresConfig)
    with errors_in_one_sentence():
        feature_spheres(config)
    print((Path(config.out) / "spheres.md").read_text(encoding="utf-8"))
    print(f"written to {config.out}")
