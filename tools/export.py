"""Write a network as TFLite and ONNX and compare the files; `--help` lists the flags."""

from keras_sphereface.commands.export import main
from keras_sphereface.config import ExportConfig
from keras_sphereface.config.parsing import parse_config

if __name__ == "__main__":
    main(parse_config(ExportConfig))
