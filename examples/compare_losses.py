"""Train one network with every loss, and verify pairs of identities never trained on.

    python examples/compare_losses.py --out LOSSES

Without `--data` faces are generated. `--help` lists the flags.
"""

from keras_sphereface.commands.compare_losses import run_compare_losses
from keras_sphereface.config import CompareConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_compare_losses(parse_config(CompareConfig))
