"""Settings of the export to TFLite and ONNX."""

import dataclasses

from keras_sphereface.config.fields import setting

FORMATS = ("tflite", "tflite-float16", "tflite-int8", "onnx")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Write a network as TFLite and ONNX, and compare each file with it on faces."""

    model: str = setting(help="SavedModel folder, or .keras file of a network (with its head)")
    out: str = setting(help="folder for the files, export.csv and export.md")
    formats: tuple[str, ...] = setting(FORMATS, "which files", FORMATS)
    images: str = setting("", "class folders of faces, to calibrate int8 with and to compare on")
    landmarks: str = setting("", "five points an image; with it every face is aligned")
    pairs: str = setting("", "list of pairs: the files are verified too, on people kept apart")
    folds: tuple[int, ...] = setting((), "only these folds of the pairs, counted from 1")
    num_calibration: int = setting(200, "images for int8")
    num_compared: int = setting(256, "images for the differences")
    batch_size: int = setting(64, "images embedded at once")
    seed: int = setting(0, "of which images are taken")
