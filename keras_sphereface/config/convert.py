"""Settings of what makes records: conversion and generated faces."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import (
    LANDMARK_COLUMNS_HELP,
    LIST_COLUMNS_HELP,
    PAIR_COLUMNS_HELP,
    SOURCE_KINDS,
)
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class FacesConfig:
    """Generate faces in the form of LFW: images, landmarks, and pairs of further identities.

    Example:

    >>> FacesConfig(out="runs/faces", num_identities=10).images_per_identity
    20
    """

    example: ClassVar[str] = "--out faces"

    out: str = setting(
        help="Folder for images/, landmarks.txt, pairs.txt and test_identities.txt.", path="output"
    )
    num_identities: int = setting(60, "Number of identities to train on, at least 1.", minimum=1)
    images_per_identity: int = setting(
        20, "Number of images of each identity, at least 2.", minimum=2
    )
    num_test_identities: int = setting(
        40, "Number of further identities, for the pairs only; 0: no pairs.", minimum=0
    )
    num_folds: int = setting(2, "Number of folds of the pairs, at least 2.", minimum=2)
    pairs_per_class: int = setting(
        150, "Number of matched pairs a fold, and of mismatched ones, at least 1.", minimum=1
    )
    seed: int = setting(0, "Seed for faces and pairs.", minimum=0)


@dataclasses.dataclass(frozen=True)
class PairsConfig:
    """Draw pairs for evaluation and calibration from a folder with a folder for each person.

    Matched and mismatched pairs are equally many in each fold, and no person is in two folds.
    `sphereface convert --exclude-pairs` leaves the people in the pairs out of the training.

    Example:

    >>> PairsConfig(images="people", out="pairs.txt").num_folds
    10
    """

    example: ClassVar[str] = "people --num-identities 50 --out pairs.txt"
    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: str = setting(help="Folder with a folder of images for each person.", path="folder")
    out: str = setting(
        help="File to write, for --pairs of `sphereface evaluate`: a line "
        "`first<TAB>second<TAB>0|1<TAB>fold` for each pair.",
        path="output-file",
    )
    num_identities: int | None = setting(
        None, "Number of people in the pairs, drawn, at least 4; by default all.", minimum=4
    )
    num_folds: int = setting(
        10,
        "Number of folds, at least 2; fewer if there are fewer than two people for each.",
        minimum=2,
    )
    pairs_per_class: int = setting(
        300,
        "Number of matched pairs a fold, and of mismatched ones, at least 1; fewer if a fold has "
        "fewer.",
        minimum=1,
    )
    seed: int = setting(0, "Seed of the draw.", minimum=0)


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Convert faces of any source to sharded TFRecords.

    Example:

    >>> config = ConvertConfig(source="faces/images", out="out", landmarks="faces/landmarks.txt")
    >>> config.aligns, config.height, config.width
    (True, 0, 0)
    """

    example: ClassVar[str] = "--source faces/images --landmarks faces/landmarks.txt --out records"

    source: str = setting(
        "",
        f"Source of the faces: {'; '.join(SOURCE_KINDS.values())}; or a folder of such files.",
        group="source and output",
        common=True,
        path="input",
    )
    out: str = setting(
        "",
        "Folder for the shards, dataset.json and tables.",
        group="source and output",
        common=True,
        path="output",
    )
    root: str = setting(
        "",
        "Folder that the paths of a list file are relative to; by default the folder of the list.",
        group="source and output",
        path="folder",
    )
    list_columns: str = setting(
        "",
        "Columns of a list file, " + LIST_COLUMNS_HELP,
        group="source and output",
    )
    follow_links: bool = setting(
        False,
        "Follow symbolic links in class folders that lead out of the source.",
        group="source and output",
    )
    landmarks: str = setting(
        "",
        "File of five points for each image, by which faces are aligned.",
        group="source and output",
        common=True,
        path="file",
    )
    landmark_columns: str = setting(
        "",
        "Columns of --landmarks, " + LANDMARK_COLUMNS_HELP,
        group="alignment",
    )
    detect: bool = setting(
        False,
        "Find missing landmarks with MTCNN, and align every face.",
        group="alignment",
        common=True,
    )
    align: bool = setting(
        False, "Align every face by the landmarks that the source itself has.", group="alignment"
    )
    contact_sheet: str = setting(
        "",
        "PNG file for a sample of the faces as the network sees them.",
        group="source and output",
        path="output-file",
    )
    num_shards: int = setting(
        0,
        "Number of shards; 0: as many as hold 100 to 200 MB each.",
        group="source and output",
        minimum=0,
    )
    exclude: str = setting(
        "",
        "File of identities, images or patterns to exclude, one a line.",
        group="exclusion",
        common=True,
        path="file",
    )
    allow_missing: bool = setting(
        False,
        "Let lines of --exclude meet nothing in the source; by default that is an error.",
        group="exclusion",
    )
    exclude_pairs: str = setting(
        "",
        "List of pairs, all of whose identities are excluded.",
        group="exclusion",
        common=True,
        path="input",
    )
    pair_columns: str = setting(
        "", "Columns of --exclude-pairs, " + PAIR_COLUMNS_HELP, group="exclusion"
    )
    exclude_folds: tuple[int, ...] = setting(
        (), "Folds of --exclude-pairs to use, from 1; by default all.", group="exclusion", minimum=1
    )
    exclude_casia_lfw: bool = setting(
        True, "Exclude the three identities of CASIA-WebFace that are in LFW.", group="exclusion"
    )
    quality: bool = setting(
        True,
        "Measure every face, and look for duplicates, for quality.html and dataset.json; takes a "
        "few per cent of the time.",
        group="verification",
    )
    min_images: int = setting(
        1,
        "Exclude identities with fewer readable images than this.",
        group="exclusion",
        common=True,
        minimum=1,
    )
    height: int = setting(
        0,
        "Height of the faces in pixels; 0: 112.",
        group="alignment",
        minimum=0,
    )
    width: int = setting(
        0,
        "Width of the faces in pixels; 0: 96, or 112 if all images are 112 x 112 and none is "
        "aligned anew.",
        group="alignment",
        minimum=0,
    )
    seed: int = setting(0, "Seed for the global shuffle.", group="order and processes", minimum=0)
    workers: int = setting(
        0,
        "Number of processes; 0: one a core, or one for few images.",
        group="order and processes",
        common=True,
        minimum=0,
    )
    overwrite: bool = setting(
        False, "Replace a folder of records that exists.", group="source and output", common=True
    )
    runner: str = setting(
        "",
        "Apache Beam runner that converts, in place of this machine.",
        group="order and processes",
    )
    beam_options: tuple[str, ...] = setting(
        (), "Options of Beam, after a lone --.", rest=True, group="order and processes"
    )
    verify: str = setting(
        "",
        "Folder of records whose shards to compare with their checksums.",
        group="verification",
        common=True,
        path="folder",
    )

    @property
    def aligns(self) -> bool:
        """Return whether faces are aligned, wherever their landmarks come from."""
        return bool(self.align or self.landmarks or self.detect)
