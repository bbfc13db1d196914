"""Train with several workers on this machine, each with its share of the GPUs.

    python tools/launch_local.py --workers 2 -- examples/train_casia.py --data RECORDS

What comes after the lone `--` is what `python` gets; every worker runs the same. On several
machines start the script on each with a `TF_CONFIG` of its own instead.
"""

import sys

from keras_sphereface.config import LaunchConfig
from keras_sphereface.config.parsing import parse_config
from keras_sphereface.distribute.launcher import launch

if __name__ == "__main__":
    config = parse_config(LaunchConfig)
    sys.exit(launch(config.program, config.workers))
