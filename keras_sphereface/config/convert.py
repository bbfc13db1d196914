"""Settings of what makes records: conversion and generated faces."""

import dataclasses

from keras_sphereface.config.choices import SOURCE_KINDS
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class FacesConfig:
    """Generate faces in the form of LFW: images, landmarks, and pairs of further identities.

    Example:

    >>> FacesConfig(out="runs/faces", num_identities=10).images_per_identity
    20
    """

    out: str = setting(help="Folder for images/, landmarks.txt, pairs.txt and test_identities.txt.")
    num_identities: int = setting(60, "Number of identities to train on.")
    images_per_identity: int = setting(20, "Number of images of each identity, at least 2.")
    num_test_identities: int = setting(40, "Number of further identities, for the pairs only.")
    num_folds: int = setting(2, "Number of folds of the pairs, at least 2.")
    pairs_per_class: int = setting(150, "Number of matched pairs a fold, and of mismatched ones.")
    seed: int = setting(0, "Seed for faces and pairs.")


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Convert faces of any source to sharded TFRecords.

    Example:

    >>> config = ConvertConfig(source="faces/images", out="out", landmarks="faces/landmarks.txt")
    >>> config.aligns, config.height, config.width
    (True, 112, 96)
    """

    source: str = setting(
        "",
        f"Source of the faces: {'; '.join(SOURCE_KINDS.values())}; or a folder of such files.",
    )
    out: str = setting("", "Folder for the shards, dataset.json and tables.")
    landmarks: str = setting("", "File of five points for each image, by which faces are aligned.")
    detect: bool = setting(False, "Find missing landmarks with MTCNN, and align every face.")
    align: bool = setting(False, "Align every face by the landmarks that the source itself has.")
    contact_sheet: str = setting("", "PNG file for a sample of the faces as the network sees them.")
    num_shards: int = setting(0, "Number of shards; 0: as many as hold 100 to 200 MB each.")
    exclude: str = setting("", "File of identities, images or patterns to exclude, one a line.")
    exclude_pairs: str = setting("", "List of pairs, all of whose identities are excluded.")
    exclude_folds: tuple[int, ...] = setting(
        (), "Folds of --exclude-pairs to use, from 1; by default all."
    )
    exclude_casia_lfw: bool = setting(
        True, "Exclude the three identities of CASIA-WebFace that are in LFW."
    )
    min_images: int = setting(1, "Exclude identities with fewer readable images than this.")
    height: int = setting(112, "Height of the faces in pixels.")
    width: int = setting(96, "Width of the faces in pixels.")
    seed: int = setting(0, "Seed for the global shuffle.")
    workers: int = setting(0, "Number of processes; 0: one a core, or one for few images.")
    overwrite: bool = setting(False, "Replace a folder of records that exists.")
    runner: str = setting("", "Apache Beam runner that converts, in place of this machine.")
    beam_options: tuple[str, ...] = setting((), "Options of Beam, after a lone --.", rest=True)
    verify: str = setting("", "Folder of records whose shards to compare with their checksums.")

    @property
    def aligns(self) -> bool:
        """Return whether faces are aligned, wherever their landmarks come from."""
        return bool(self.align or self.landmarks or self.detect)
