"""Verify pairs of faces with exported networks; `--help` lists the flags."""

from keras_sphereface.command_line import parse_config
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.evaluation import main

if __name__ == "__main__":
    main(parse_config(EvaluateConfig))
