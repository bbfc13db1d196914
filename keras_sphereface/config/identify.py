"""Settings of closed-set and open-set identification, and of identification among distractors."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class _FaceSettings:
    """Settings that all protocols of identification share."""

    out: str = setting(help="folder for metrics.json, probes.csv, the curve and report.html")
    model: tuple[str, ...] = setting((), "SavedModel folders, .tflite or .onnx files")
    embeddings: tuple[str, ...] = setting(
        (), "embeddings by key (.npz) of any other system, beside models or instead of them"
    )
    images: str = setting("", "folder of class folders: a folder's name is the identity")
    landmarks: str = setting("", "five points an image; with this file every face is aligned")
    records: str = setting("", "folder of records, instead of images")
    pairs: str = setting("", "only the identities in this list of pairs, in the form of LFW's")
    folds: tuple[int, ...] = setting((), "only these folds of the pairs, counted from 1")
    train_labels: str = setting("", "labels.csv of the training records: leave its identities out")
    batch_size: int = setting(64, "images embedded at once")
    seed: int = setting(0, "seed for the choice of the gallery and of images that are checked")


@dataclasses.dataclass(frozen=True)
class _GallerySettings(_FaceSettings):
    """Settings of the protocols that compare probes with a gallery."""

    gallery: str = setting("", "list of the gallery, lines `path<TAB or space>identity`")
    probes: str = setting("", "list of the probes, lines `path<TAB or space>identity`")
    templates: str = setting(
        "", "lines `path template [medium]`: gallery and probes name templates of images"
    )
    gallery_images: int = setting(1, "images of each identity in the gallery, without lists")


@dataclasses.dataclass(frozen=True)
class ClosedSetConfig(_GallerySettings):
    """Closed-set identification: whose face is it? Every probe has a mate in the gallery.

    Without lists, `gallery_images` of each identity with more images are the gallery, and the
    others are probes.

    Example:
        >>> ClosedSetConfig(out="out", model=("export",), images="faces").max_rank
        20
    """

    protocol: ClassVar[str] = "closed-set"
    max_rank: int = setting(20, "last rank of the CMC curve")


@dataclasses.dataclass(frozen=True)
class OpenSetConfig(_GallerySettings):
    """Open-set identification: is it a face of the gallery, and whose? Some probes have no mate.

    Without lists, a share of the identities is unknown: all of their images are probes. Of each
    other identity `gallery_images` are the gallery, and the others are probes.

    Example:
        >>> OpenSetConfig(out="out", model=("export",), images="faces").unknown_share
        0.5
    """

    protocol: ClassVar[str] = "open-set"
    unknown_share: float = setting(
        0.5, "share of identities that are not in the gallery, in (0, 1), without lists"
    )
    candidates: int = setting(20, "length of the candidate list of TPIR")


@dataclasses.dataclass(frozen=True)
class DistractorsConfig(_FaceSettings):
    """Identification among up to a million distractors, in the manner of MegaFace.

    Of each two images of an identity one joins the distractors; the other is the probe.

    Example:
        >>> DistractorsConfig(out="out", model=("export",), images="a", distractors="b").max_rank
        10
    """

    protocol: ClassVar[str] = "distractors"
    distractors: str = setting(
        "",
        "faces of other identities: class folders, a folder of records, or an .npz file of "
        "embeddings; identities of the probes are left out",
    )
    distractor_landmarks: str = setting("", "five points for each image of distractors")
    max_rank: int = setting(10, "last rank of the CMC curve")


IdentifyConfig = ClosedSetConfig | OpenSetConfig | DistractorsConfig
IDENTIFY_CONFIGS: dict[str, type[IdentifyConfig]] = {
    config.protocol: config for config in (ClosedSetConfig, OpenSetConfig, DistractorsConfig)
}
