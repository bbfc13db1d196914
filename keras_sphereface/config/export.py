"""Settings of the export to TFLite and ONNX, and of the import of published weights."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import (
    COLOR_ORDERS,
    FORMATS,
    INPUT_RANGES,
    INPUT_RANGES_HELP,
    LANDMARK_COLUMNS_HELP,
    PAIR_COLUMNS_HELP,
)
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Write a network as TFLite and ONNX files, and compare each file with the network on faces.

    Example:
        >>> ExportConfig(model="runs/casia/export", out="portable").formats
        ('tflite', 'tflite-float16', 'tflite-int8', 'onnx')
    """

    example: ClassVar[str] = "--model runs/first/export --formats onnx --out portable"

    model: str = setting(
        help="SavedModel folder, or .keras file of a network, with or without a head.",
        group="network and output",
        path="input",
    )
    out: str = setting(
        help="Output folder for the files, export.csv and export.md.",
        group="network and output",
        path="output",
    )
    input_range: str | None = setting(
        None,
        "Pixels that the network of a .keras file takes. " + INPUT_RANGES_HELP,
        tuple(INPUT_RANGES),
        group="network and output",
        common=True,
    )
    height: int | None = setting(
        None,
        "Height of the faces in pixels, at least 1, for a .keras file that takes any size.",
        group="network and output",
        common=True,
        minimum=1,
    )
    width: int | None = setting(
        None,
        "Width of the faces in pixels, at least 1, for a .keras file that takes any size.",
        group="network and output",
        common=True,
        minimum=1,
    )
    formats: tuple[str, ...] = setting(
        tuple(FORMATS),
        "Formats to write. "
        + "; ".join(f"{name}: {choice.help}" for name, choice in FORMATS.items())
        + ".",
        tuple(FORMATS),
        group="network and output",
        common=True,
    )
    images: str = setting(
        "",
        "Folder of class folders of faces that calibrate tflite-int8 and on which the files "
        "are compared.",
        group="calibration and comparison",
        common=True,
        path="folder",
    )
    landmarks: str = setting(
        "",
        "File of five points for each image, by which every face is aligned.",
        group="calibration and comparison",
        common=True,
        path="file",
    )
    landmark_columns: str = setting(
        "", "Columns of --landmarks, " + LANDMARK_COLUMNS_HELP, group="calibration and comparison"
    )
    pairs: str = setting(
        "",
        "List of pairs by which each file is verified too; tflite-int8 is calibrated on "
        "other identities.",
        group="calibration and comparison",
        common=True,
        path="input",
    )
    pair_columns: str = setting(
        "", "Columns of --pairs, " + PAIR_COLUMNS_HELP, group="calibration and comparison"
    )
    folds: tuple[int, ...] = setting(
        (),
        "Folds of the pairs to use, counted from 1; by default all.",
        group="calibration and comparison",
        common=True,
        minimum=1,
    )
    num_calibration: int = setting(
        200,
        "Largest number of images that calibrate tflite-int8, at least 1.",
        group="calibration and comparison",
        minimum=1,
    )
    num_compared: int = setting(
        256,
        "Largest number of images on which the files are compared, at least 1.",
        group="calibration and comparison",
        minimum=1,
    )
    batch_size: int = setting(
        64,
        "Number of images embedded at once, at least 1.",
        group="calibration and comparison",
        common=True,
        aliases=("batch",),
        minimum=1,
    )
    seed: int = setting(
        0, "Seed for the choice of images.", group="calibration and comparison", minimum=0
    )


@dataclasses.dataclass(frozen=True)
class ImportWeightsConfig:
    """Turn weights of SphereFace in Caffe or PyTorch into a network of Keras, without either.

    Example:
        >>> ImportWeightsConfig(weights="sphereface.caffemodel", out="network.keras").color_order
        'bgr'
    """

    example: ClassVar[str] = "sphereface_model.caffemodel sphereface20.keras"
    positional: ClassVar[tuple[str, ...]] = ("weights", "out")

    weights: str = setting(
        help="File of the weights: a .caffemodel of the reference implementation, or a .pth of its "
        "PyTorch port (sphere20a).",
        path="file",
    )
    out: str = setting(help="File to write, NAME.keras.", path="output-file")
    color_order: str = setting(
        "bgr",
        "Channels of the images that the network was trained on. The network that is written "
        "takes RGB.",
        COLOR_ORDERS,
    )
