"""Settings of the export to TFLite and ONNX."""

import dataclasses

from keras_sphereface.config.choices import FORMATS
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Write a network as TFLite and ONNX files, and compare each file with the network on faces.

    Example:
        >>> ExportConfig(model="runs/casia/export", out="portable").formats
        ('tflite', 'tflite-float16', 'tflite-int8', 'onnx')
    """

    model: str = setting(
        help="SavedModel folder, or .keras file of a network, with or without head"
    )
    out: str = setting(help="folder for the files, export.csv and export.md")
    formats: tuple[str, ...] = setting(
        tuple(FORMATS),
        "files to write: "
        + "; ".join(f"{name}: {choice.help}" for name, choice in FORMATS.items()),
        tuple(FORMATS),
    )
    images: str = setting(
        "", "class folders of faces: to calibrate tflite-int8 and to compare the files"
    )
    landmarks: str = setting("", "five points an image; with this file every face is aligned")
    pairs: str = setting(
        "", "list of pairs: each file is verified too; int8 is calibrated on other identities"
    )
    folds: tuple[int, ...] = setting((), "only these folds of the pairs, counted from 1")
    num_calibration: int = setting(200, "largest number of images that calibrate tflite-int8")
    num_compared: int = setting(256, "largest number of images that the files are compared on")
    batch_size: int = setting(64, "images embedded at once")
    seed: int = setting(0, "seed for the choice of images")
