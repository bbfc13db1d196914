"""Verify pairs of faces with exported networks; `--help` lists the flags."""

from keras_sphereface.commands.evaluate import run_evaluate
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_evaluate(parse_config(EvaluateConfig))
