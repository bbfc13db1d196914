"""Write a network as TFLite and ONNX and compare the files; `--help` lists the flags."""

from keras_sphereface.command_line import parse_config
from keras_sphereface.config import ExportConfig
from keras_sphereface.exporting import main

if __name__ == "__main__":
    main(parse_config(ExportConfig))
