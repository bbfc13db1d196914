"""Verify pairs of faces with a SavedModel; `--help` lists the flags."""

from keras_sphereface.command_line import parse_config
from keras_sphereface.config import EvaluateConfig
from keras_sphereface.evaluation import evaluate, summary

if __name__ == "__main__":
    config = parse_config(EvaluateConfig)
    print(summary(evaluate(config)))
    print(f"written to {config.out}")
