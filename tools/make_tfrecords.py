"""Turn faces of any source into sharded TFRecords; `--help` lists the flags."""

import os

# No image needs TensorFlow to be converted: without, all starts at once and stays small.
os.environ.setdefault("KERAS_SPHEREFACE_DATA_ONLY", "1")

from keras_sphereface.commands.convert import main
from keras_sphereface.config import ConvertConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    main(parse_config(ConvertConfig))
