"""Convert faces of any source to sharded TFRecords; `--help` lists the flags."""

import os

# A conversion needs no TensorFlow; without it all processes start at once and stay small.
os.environ.setdefault("KERAS_SPHEREFACE_DATA_ONLY", "1")

from keras_sphereface.commands.convert import run_convert
from keras_sphereface.config import ConvertConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_convert(parse_config(ConvertConfig))
