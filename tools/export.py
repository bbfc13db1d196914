"""Write a network as TFLite and ONNX and compare the files; `--help` lists the flags."""

from keras_sphereface.commands.export import run_export
from keras_sphereface.config.export import ExportConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    run_export(parse_config(ExportConfig))
