"""Settings of closed-set and open-set identification, and of identification among distractors."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import (
    LANDMARK_COLUMNS_HELP,
    LIST_COLUMNS_HELP,
    PAIR_COLUMNS_HELP,
)
from keras_sphereface.config.compare import DETECTOR_HELP, FACE_POLICIES
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class _FaceSettings:
    """Settings that all protocols of identification share."""

    out: str = setting(
        help="Output folder for metrics.json, probes.csv, the curve and report.html.",
        group="output",
        common=True,
        path="output",
    )
    model: tuple[str, ...] = setting(
        (),
        "Models to evaluate: SavedModel folders, .keras, .tflite or .onnx files.",
        group="models",
        common=True,
        path="input",
    )
    embeddings: tuple[str, ...] = setting(
        (),
        "Saved embeddings by key (.npz) of any system, beside models or in place of them.",
        group="models",
        common=True,
        path="file",
    )
    images: str = setting(
        "",
        "Folder of class folders; the name of a class folder is the identity.",
        group="faces",
        common=True,
        path="folder",
    )
    landmarks: str = setting(
        "",
        "File of five points for each image, by which every face is aligned.",
        group="faces",
        common=True,
        path="file",
    )
    landmark_columns: str = setting(
        "",
        "Columns of --landmarks, and of --distractor-landmarks where it is a flag, "
        + LANDMARK_COLUMNS_HELP,
        group="faces",
    )
    detector: str = setting(
        "",
        DETECTOR_HELP
        + " It finds the faces of --images, in place of --landmarks; an image without "
        "a face is a failure to acquire.",
        group="faces",
    )
    policy: str = setting(
        "center",
        "Choice of the face of an image that --detector finds.",
        FACE_POLICIES,
        group="faces",
    )
    records: str = setting(
        "", "Folder of records, in place of --images.", group="faces", common=True, path="folder"
    )
    pairs: str = setting(
        "",
        "List of pairs in any form of `sphereface evaluate`; only its identities are used.",
        group="faces",
        common=True,
        path="input",
    )
    pair_columns: str = setting("", "Columns of --pairs, " + PAIR_COLUMNS_HELP, group="faces")
    folds: tuple[int, ...] = setting(
        (), "Folds of the pairs to use, counted from 1; by default all.", group="faces", minimum=1
    )
    train_labels: str = setting(
        "",
        "Path of the labels.csv of the training records, whose identities are excluded.",
        group="faces",
        path="file",
    )
    batch_size: int = setting(
        64,
        "Number of images embedded at once, at least 1.",
        group="models",
        aliases=("batch",),
        minimum=1,
    )
    seed: int = setting(
        0,
        "Seed for the choice of the gallery and of the images that are checked, and for the draws.",
        group="sampling",
        minimum=0,
    )


@dataclasses.dataclass(frozen=True)
class _GallerySettings(_FaceSettings):
    """Settings of the protocols that compare probes with a gallery."""

    gallery: str = setting(
        "",
        "List of the gallery, with lines `path<TAB or space>identity`.",
        group="gallery and probes",
        common=True,
        path="file",
    )
    probes: str = setting(
        "",
        "List of the probes, with lines `path<TAB or space>identity`.",
        group="gallery and probes",
        common=True,
        path="file",
    )
    list_columns: str = setting(
        "",
        "Columns of --gallery and --probes, " + LIST_COLUMNS_HELP,
        group="gallery and probes",
    )
    templates: str = setting(
        "",
        "File of lines `path template [medium]`; gallery and probes then name templates.",
        group="gallery and probes",
        path="input",
    )
    bootstrap: int = setting(
        1000,
        "Number of bootstrap draws of identities for the 95 per cent intervals; 0 computes none.",
        group="sampling",
        minimum=0,
    )
    gallery_images: int = setting(
        1,
        "Number of images of each identity in the gallery, at least 1, without lists.",
        group="gallery and probes",
        minimum=1,
    )


@dataclasses.dataclass(frozen=True)
class ClosedSetConfig(_GallerySettings):
    """Closed-set identification: every probe has a mate in the gallery.

    Without lists, `--gallery-images` of each identity with more images are the gallery, and the
    others are probes.

    Example:
        >>> ClosedSetConfig(out="out", model=("export",), images="faces").max_rank
        20
    """

    example: ClassVar[str] = "--model runs/first/export --images faces/images --out runs/closed"
    protocol: ClassVar[str] = "closed-set"
    max_rank: int = setting(
        20,
        "Last rank of the CMC curve, at least 1.",
        group="identification",
        common=True,
        minimum=1,
    )


@dataclasses.dataclass(frozen=True)
class OpenSetConfig(_GallerySettings):
    """Open-set identification: some probes have no mate in the gallery.

    Without lists, a share of the identities is unknown: all of their images are probes. Of each
    other identity `--gallery-images` are the gallery, and the others are probes.

    Example:
        >>> OpenSetConfig(out="out", model=("export",), images="faces").unknown_share
        0.5
    """

    example: ClassVar[str] = "--model runs/first/export --images faces/images --out runs/open"
    protocol: ClassVar[str] = "open-set"
    unknown_share: float = setting(
        0.5,
        "Share of identities, in (0, 1), that are not in the gallery, without lists.",
        group="identification",
        common=True,
    )
    candidates: int = setting(
        20, "Length of the candidate list of TPIR, at least 1.", group="identification", minimum=1
    )


@dataclasses.dataclass(frozen=True)
class DistractorsConfig(_FaceSettings):
    """Identification among up to a million distractors, in the manner of MegaFace.

    Of each two images of an identity one joins the distractors; the other is the probe.

    Example:
        >>> DistractorsConfig(out="out", model=("export",), images="a", distractors="b").max_rank
        10
    """

    example: ClassVar[str] = (
        "--model runs/first/export --images faces/images --distractors crowd --out runs/crowd"
    )
    protocol: ClassVar[str] = "distractors"
    distractors: str = setting(
        "",
        "Faces of other identities: class folders, a folder of records, or an .npz file of "
        "embeddings; identities of the probes are excluded.",
        group="distractors",
        common=True,
        path="input",
    )
    distractor_landmarks: str = setting(
        "", "File of five points for each image of --distractors.", group="distractors", path="file"
    )
    max_rank: int = setting(
        10,
        "Last rank of the CMC curve, at least 1.",
        group="identification",
        common=True,
        minimum=1,
    )


IdentifyConfig = ClosedSetConfig | OpenSetConfig | DistractorsConfig
IDENTIFY_CONFIGS: dict[str, type[IdentifyConfig]] = {
    config.protocol: config for config in (ClosedSetConfig, OpenSetConfig, DistractorsConfig)
}
