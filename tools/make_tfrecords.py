"""Turn faces of any source into sharded TFRecords; `--help` lists the flags."""

import os

# No picture needs TensorFlow to be converted: without, all starts at once and stays small.
os.environ.setdefault("KERAS_SPHEREFACE_DATA_ONLY", "1")

from keras_sphereface.command_line import parse_config
from keras_sphereface.config import RecordsConfig
from keras_sphereface.datasets import main

if __name__ == "__main__":
    main(parse_config(RecordsConfig))
