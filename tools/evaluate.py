"""Verify pairs of faces with exported networks; `--help` lists the flags."""

from keras_sphereface.commands.evaluate import main
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    main(parse_config(EvaluateConfig))
