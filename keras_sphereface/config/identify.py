"""Settings of closed-set and open-set identification."""

import dataclasses

from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class _SearchConfig:
    """What all searches for people share."""

    out: str = setting(help="folder for metrics.json, probes.csv, the images and report.html")
    model: tuple[str, ...] = setting((), "SavedModel folders, .tflite or .onnx files")
    embeddings: tuple[str, ...] = setting(
        (), "embeddings by key (.npz) of any other system, beside models or instead of them"
    )
    images: str = setting("", "folder of class folders: who is on an image is its folder's name")
    landmarks: str = setting("", "five points an image; with it every face is aligned")
    records: str = setting("", "folder of records, instead of images")
    pairs: str = setting("", "only the people in this list of pairs, in the form of LFW's")
    folds: tuple[int, ...] = setting((), "of these pairs only those folds, counted from 1")
    train_labels: str = setting("", "labels.csv of the training records: leave those people out")
    batch_size: int = setting(64, "images embedded at once")
    seed: int = setting(0, "of who is in the gallery, and of what is looked at")


@dataclasses.dataclass(frozen=True)
class ClosedSetConfig(_SearchConfig):
    """Closed-set identification: who of the gallery is this? Everyone who is looked up is there.

    Without lists, of everyone with several images some are the gallery, the others are looked up.
    """

    gallery: str = setting("", "lines `path<TAB or space>identity` of known people")
    probes: str = setting("", "such lines of images that are looked up")
    templates: str = setting("", "lines `path template [medium]`: galleries of templates")
    gallery_images: int = setting(1, "of each person in the gallery, without lists")
    max_rank: int = setting(20, "the last rank of the curve")


@dataclasses.dataclass(frozen=True)
class OpenSetConfig(_SearchConfig):
    """Open-set identification: is this someone of the gallery, and who? Some are strangers.

    Without lists a share of the people are strangers; of the others some images are the gallery,
    and the other images are looked up.
    """

    gallery: str = setting("", "lines `path<TAB or space>identity` of known people")
    probes: str = setting("", "such lines of images that are looked up, strangers among them")
    templates: str = setting("", "lines `path template [medium]`: galleries of templates")
    gallery_images: int = setting(1, "of each person in the gallery, without lists")
    strangers: float = setting(0.5, "the share of people who are not in it, without lists")
    candidates: int = setting(20, "length of the list in which TPIR asks for the right person")


@dataclasses.dataclass(frozen=True)
class DistractorsConfig(_SearchConfig):
    """Identification among up to a million strangers, in the manner of MegaFace.

    Of each two images of a person one is put among the distractors; the other looks for it.
    """

    distractors: str = setting(
        "",
        "strangers: class folders, a folder of records, or an .npz file of embeddings; of these "
        "everyone who is looked for is left out",
    )
    distractor_landmarks: str = setting("", "five points for each image of distractors")
    max_rank: int = setting(10, "the last rank of the curve")
