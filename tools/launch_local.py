"""Train with several workers on this machine, each with its share of the GPUs.

    python tools/launch_local.py --workers 2 -- examples/train_casia.py --data RECORDS

The words after the lone `--` are the arguments of `python`; every worker runs the same program. On
several machines start the script on each machine, with its `TF_CONFIG`, instead.
"""

import sys

from keras_sphereface.commands.launch import run_launch
from keras_sphereface.config import LaunchConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    sys.exit(run_launch(parse_config(LaunchConfig)))
