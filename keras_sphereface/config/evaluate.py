"""Settings of the verification of pairs."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import (
    LANDMARK_COLUMNS_HELP,
    PAIR_COLUMNS_HELP,
    PROTOCOLS,
)
from keras_sphereface.config.compare import DETECTOR_HELP, FACE_POLICIES
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Verify pairs of faces with exported networks, or with saved embeddings.

    Each model is evaluated on each set of pairs. For several sets `--images`, `--landmarks`,
    `--records` and `--templates` take one value for all, or one for each of `--pairs`.

    Example:

    >>> config = EvaluateConfig(
    ...     out="evaluation", model=("export",), images=("lfw/images",), pairs=("lfw/pairs.txt",))
    >>> config.protocol, config.num_folds
    ('sphereface', 10)
    """

    example: ClassVar[str] = "--model runs/first/export --bin lfw.bin --out runs/lfw"

    out: str = setting(
        help="Output folder for metrics.json, pairs.csv, the figures and report.html.",
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
        origin="`sphereface train` writes one to its folder, WORKDIR/export.",
    )
    embeddings: tuple[str, ...] = setting(
        (),
        "Saved embeddings by key (.npz) of any system, beside models or in place of them.",
        group="models",
        path="file",
    )
    pairs: tuple[str, ...] = setting(
        (),
        "Lists of pairs: LFW's pairs.txt, lines `first second 0|1 [fold]`, also csv, or a folder "
        "Protocol/Split/FP of CFP.",
        group="pairs",
        common=True,
        path="input",
    )
    pair_columns: str = setting("", "Columns of --pairs, " + PAIR_COLUMNS_HELP, group="pairs")
    images: tuple[str, ...] = setting(
        (), "Folders of the images of the pairs.", group="pairs", common=True, path="folder"
    )
    landmarks: tuple[str, ...] = setting(
        (),
        "Files of five points for each image, by which every face is aligned; without it "
        "images are cropped at their center.",
        group="pairs",
        common=True,
        path="file",
    )
    landmark_columns: str = setting(
        "",
        "Columns of --landmarks, " + LANDMARK_COLUMNS_HELP,
        group="pairs",
    )
    detector: str = setting(
        "",
        DETECTOR_HELP
        + " It finds the faces of --images, in place of --landmarks; an image without "
        "a face is a failure to acquire.",
        group="pairs",
    )
    policy: str = setting(
        "center",
        "Choice of the face of an image that --detector finds.",
        FACE_POLICIES,
        group="pairs",
    )
    records: tuple[str, ...] = setting(
        (),
        "Folders of records with the images of the pairs, in place of --images.",
        group="pairs",
        common=True,
        path="folder",
    )
    templates: tuple[str, ...] = setting(
        (),
        "Files of lines `path template [medium]`, csv files of IJB, or folders of them; the pairs "
        "then compare templates.",
        group="pairs",
        path="input",
    )
    bin: tuple[str, ...] = setting(
        (),
        "Verification sets in InsightFace's form (.bin), which hold pairs and images.",
        group="pairs",
        common=True,
        path="file",
    )
    sets: str = setting(
        "",
        "Folder of known verification sets (lfw, cfp_fp, agedb_30, calfw, ijbc and so on), each as "
        "NAME.bin or as a folder NAME with pairs and images; all that are found are evaluated.",
        group="pairs",
        common=True,
        path="folder",
    )
    folds: tuple[int, ...] = setting(
        (),
        "Folds to evaluate, counted from 1; by default all.",
        group="pairs",
        common=True,
        minimum=1,
    )
    num_folds: int = setting(
        10,
        "Number of folds, at least 2, for pairs without folds, such as those of a .bin.",
        group="pairs",
        minimum=2,
    )
    protocol: str = setting(
        "sphereface",
        "Verification protocol; the accuracy by the others is reported too. "
        + "; ".join(f"{name}: {choice.description}" for name, choice in PROTOCOLS.items())
        + ".",
        tuple(PROTOCOLS),
        group="verification",
        common=True,
    )
    calibrate: bool = setting(
        False,
        "Turn scores into log-likelihood ratios and choose thresholds for false match rates, and "
        "test both on other identities. Writes recognition.json beside the model too, which "
        "`sphereface compare`, identify and serve read.",
        group="calibration",
        common=True,
    )
    calibration_folds: tuple[int, ...] = setting(
        (),
        "Folds to calibrate on, counted from 1, for --calibrate; the others are evaluated. By "
        "default each fold is evaluated by a calibration on the others.",
        group="calibration",
        minimum=1,
    )
    train_labels: str = setting(
        "",
        "Path of the labels.csv of the training records; identity overlap with the pairs is "
        "reported.",
        group="verification",
        path="file",
    )
    train_records: str = setting(
        "",
        "Folder of the training records, faces aligned as those of the pairs; identities shared "
        "with the pairs are looked for by name, by images and by embedding.",
        group="verification",
        path="folder",
    )
    groups: str = setting(
        "",
        "Path of a csv file with a column `identity` or `image`, then columns of groups, such as "
        "gender; error rates of each group are reported.",
        group="verification",
        path="file",
    )
    operating_fmr: float = setting(
        0.001,
        "Wanted false match rate, between 0 and 1, of the threshold at which groups "
        "and errors are judged.",
        group="verification",
    )
    bootstrap: int = setting(
        1000,
        "Number of bootstrap draws for the 95 per cent intervals; 0 computes none.",
        group="verification",
        minimum=0,
    )
    save_embeddings: bool = setting(
        False, "Write the embeddings to OUT/embeddings.npz.", group="output"
    )
    crops: int = setting(
        1,
        "Number of crops of each face, 1 to 7, shifted and scaled, whose embeddings are averaged; "
        "it takes that many times as long.",
        group="models",
        minimum=1,
    )
    batch_size: int = setting(
        64,
        "Number of images embedded at once, at least 1.",
        group="models",
        common=True,
        aliases=("batch",),
        minimum=1,
    )
    seed: int = setting(
        0,
        "Seed for the bootstrap and for the sample of images that is checked.",
        group="verification",
        minimum=0,
    )
