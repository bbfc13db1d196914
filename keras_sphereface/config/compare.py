"""Settings of the comparison of two images."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.fields import setting

# How to choose one face of an image; `recognition.faces.POLICIES` has "all" too.
FACE_POLICIES: dict[str, str] = {
    "exactly-one": "an image with several faces is refused",
    "largest": "the face with the largest box",
    "center": "the face nearest to the center of the image",
}


@dataclasses.dataclass(frozen=True)
class CompareFacesConfig:
    """Compare the faces of two images: one person or two, and how sure that is.

    Threshold and likelihood ratio come from the network's recognition.json, which `sphereface
    evaluate --calibrate` writes; without it there is a score. An .onnx network with YuNet or with
    aligned faces runs without TensorFlow.

    Example:
        >>> CompareFacesConfig(first="a.jpg", second="b.jpg", model="model.onnx").policy
        'exactly-one'
    """

    example: ClassVar[str] = "ada_1.jpg ada_2.jpg --model runs/first/export --detector mtcnn"
    positional: ClassVar[tuple[str, ...]] = ("first", "second")

    first: str = setting(help="Image of a face.", path="file")
    second: str = setting(help="Image of another face.", path="file")
    model: str = setting(
        help="Network: a SavedModel folder, or a .onnx, .tflite or .keras file.", path="input"
    )
    detector: str = setting(
        "",
        "Detector of faces: mtcnn (needs keras-sphereface[detect] and TensorFlow), or an .onnx "
        "file of YuNet (without TensorFlow).",
    )
    aligned: bool = setting(False, "Take the images as aligned faces, without detection.")
    policy: str = setting("exactly-one", "Choice of the face of an image.", FACE_POLICIES)
    fmr: float | None = setting(
        None,
        "Wanted false match rate, one of those in recognition.json; by default 0.001 or the next "
        "lower one.",
    )
    strict: bool = setting(False, "Refuse faces that are tiny or blurred.")
    json: bool = setting(False, "Print JSON for scripts.")
