"""Settings of the comparison of two images, and of the embeddings of a folder."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from keras_sphereface.config.choices import LANDMARK_COLUMNS_HELP
from keras_sphereface.config.fields import setting

# How to choose one face of an image; `recognition.faces.POLICIES` has "all" too.
FACE_POLICIES: dict[str, str] = {
    "exactly-one": "an image with several faces is refused",
    "largest": "the face with the largest box",
    "center": "the face nearest to the center of the image",
}
IDENTIFY_POLICIES: dict[str, str] = {
    **FACE_POLICIES,
    "all": "every face, from left to right",
}
GALLERY_FUSIONS: dict[str, str] = {
    "best": "that of its most similar image",
    "mean": "that of the mean of its embeddings",
}
# What all commands on images of users ask for.
NETWORK_HELP = "Network: a SavedModel folder, or a .onnx, .tflite or .keras file."
NETWORK_ORIGIN = (
    "`sphereface train` writes a network from your faces, `sphereface import-weights` one from "
    "published weights, and `sphereface demo` one of drawings, to try."
)
GALLERY_ORIGIN = "`sphereface gallery create` writes one."
DETECTOR_HELP = (
    "Detector of faces: mtcnn (pip install 'keras-sphereface[detect]'), or an .onnx file of YuNet. "
    "Neither needs TensorFlow."
)
ALIGNED_HELP = "Take the images as aligned faces, without detection."
LANDMARKS_HELP = (
    "File of five points for each image, by which faces are aligned, in place of --detector."
)
POINT_COLUMNS_HELP = "Columns of --landmarks, " + LANDMARK_COLUMNS_HELP
POLICY_HELP = "Choice of the face of an image."
REFUSE_POOR_HELP = "Refuse faces that are tiny, blurred or of a short embedding."
LEAVE_OUT_POOR_HELP = "Leave out faces that are tiny, blurred or of a short embedding."
JSON_HELP = "Print JSON for scripts."


@dataclasses.dataclass(frozen=True)
class CompareFacesConfig:
    """Compare the faces of two images: one person or two, and how sure that is.

    Threshold and likelihood ratio come from the network's recognition.json, which `sphereface
    evaluate --calibrate` writes; without it there is a score. An .onnx network runs without
    TensorFlow, detection included.

    Example:
        >>> CompareFacesConfig(first="a.jpg", second="b.jpg", model="model.onnx").policy
        'exactly-one'
    """

    example: ClassVar[str] = "ada_1.jpg ada_2.jpg --model runs/first/export --detector mtcnn"
    positional: ClassVar[tuple[str, ...]] = ("first", "second")
    synonyms: ClassVar[Mapping[str, str]] = {"threshold": "fmr"}

    first: str = setting(help="Image of a face.", path="file")
    second: str = setting(help="Image of another face.", path="file")
    model: str = setting(help=NETWORK_HELP, path="input", origin=NETWORK_ORIGIN)
    detector: str = setting("", DETECTOR_HELP)
    aligned: bool = setting(False, ALIGNED_HELP)
    landmarks: str = setting("", LANDMARKS_HELP, path="file")
    landmark_columns: str = setting("", POINT_COLUMNS_HELP)
    policy: str = setting("exactly-one", POLICY_HELP, FACE_POLICIES)
    fmr: float | None = setting(
        None,
        "Wanted false match rate, one of those in recognition.json; by default 0.001 or the next "
        "lower one.",
    )
    strict: bool = setting(False, REFUSE_POOR_HELP)
    json: bool = setting(False, JSON_HELP)


@dataclasses.dataclass(frozen=True)
class IdentifyFacesConfig:
    """Tell who the faces of images are among the identities of a gallery, or that they are unknown.

    The threshold comes from the network's recognition.json, by the size of the gallery; without it
    there are names and scores. `sphereface gallery` makes galleries. Not to be confused with
    `sphereface evaluate-identification`, which measures how often such answers are right.

    Example:
        >>> IdentifyFacesConfig(images=("a.jpg",), gallery="people.db", model="model.onnx").top
        5
    """

    example: ClassVar[str] = (
        "who.jpg --gallery people.db --model runs/first/export --detector mtcnn"
    )
    positional: ClassVar[tuple[str, ...]] = ("images",)
    synonyms: ClassVar[Mapping[str, str]] = {"threshold": "fpir"}

    images: tuple[str, ...] = setting(help="Images of faces, or folders of them.", path="input")
    gallery: str = setting(help="File of the gallery.", path="file", origin=GALLERY_ORIGIN)
    model: str = setting(help=NETWORK_HELP, path="input", origin=NETWORK_ORIGIN)
    detector: str = setting("", DETECTOR_HELP)
    aligned: bool = setting(False, ALIGNED_HELP)
    landmarks: str = setting("", LANDMARKS_HELP, path="file")
    landmark_columns: str = setting("", POINT_COLUMNS_HELP)
    policy: str = setting("exactly-one", POLICY_HELP, IDENTIFY_POLICIES)
    top: int = setting(5, "Number of candidates that are listed.", minimum=1)
    fpir: float | None = setting(
        None,
        "Wanted false positive identification rate, in (0, 1): the share of unknown faces that are "
        "taken for someone of the gallery; by default 0.01, or the lowest that recognition.json "
        "allows.",
    )
    fusion: str = setting("best", "Score of an identity with several images.", GALLERY_FUSIONS)
    strict: bool = setting(False, REFUSE_POOR_HELP)
    json: bool = setting(False, JSON_HELP)


@dataclasses.dataclass(frozen=True)
class EmbedConfig:
    """Embed every image below a folder, for `gallery enroll` and `evaluate --embeddings`.

    Images that cannot be read or have no face are left out and listed.

    Example:
        >>> EmbedConfig(folder="people", model="model.onnx", out="people.npz").batch_size
        64
    """

    example: ClassVar[str] = "people --model runs/first/export --detector mtcnn --out people.npz"
    positional: ClassVar[tuple[str, ...]] = ("folder",)

    folder: str = setting(help="Folder of images, at any depth.", path="folder")
    model: str = setting(help=NETWORK_HELP, path="input", origin=NETWORK_ORIGIN)
    out: str = setting(
        help="File to write, NAME.npz, with the paths below the folder as keys; or NAME.parquet "
        "for other tools, which needs pip install 'keras-sphereface[parquet]'.",
        path="output-file",
    )
    detector: str = setting("", DETECTOR_HELP)
    aligned: bool = setting(False, ALIGNED_HELP)
    landmarks: str = setting("", LANDMARKS_HELP, path="file")
    landmark_columns: str = setting("", POINT_COLUMNS_HELP)
    policy: str = setting("exactly-one", POLICY_HELP, FACE_POLICIES)
    strict: bool = setting(False, LEAVE_OUT_POOR_HELP)
    crops: int = setting(
        1,
        "Crops of each face, 1 to 7, shifted and scaled, whose embeddings are averaged.",
        minimum=1,
    )
    batch_size: int = setting(64, "Faces embedded at once.", minimum=1)
    json: bool = setting(False, JSON_HELP)
