"""Settings of what makes records: conversion and generated faces."""

import dataclasses

from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class FacesConfig:
    """Generate faces in the form of LFW: images, landmarks, and pairs of further people."""

    out: str = setting(help="folder for images/, landmarks.txt, pairs.txt, test_identities.txt")
    num_identities: int = setting(60, "people to train on")
    images_per_identity: int = setting(20, "images of each")
    num_test_identities: int = setting(40, "further people, in the pairs only")
    num_folds: int = setting(2, "folds of the pairs")
    pairs_per_class: int = setting(150, "matched pairs a fold, and as many mismatched ones")
    seed: int = setting(0, "of everything")


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
        "Folder of class folders (SOURCE/IDENTITY/IMAGE), list file, zip or tar archive, .rec or "
        ".parquet file, or a folder of those.",
    )
    out: str = setting("", "Folder for the shards, dataset.json and tables.")
    landmarks: str = setting("", "File of five points an image; every face is aligned by them.")
    detect: bool = setting(False, "Find missing landmarks with MTCNN, and align every face.")
    align: bool = setting(False, "Align every face by the landmarks that the source itself has.")
    contact_sheet: str = setting("", "PNG file for a sample of the faces as the network sees them.")
    num_shards: int = setting(0, "Number of shards; 0: as many as hold 100 to 200 MB each.")
    exclude: str = setting("", "File of identities, images or patterns to leave out, one a line.")
    exclude_pairs: str = setting("", "List of pairs; all identities in it are left out.")
    exclude_folds: tuple[int, ...] = setting((), "Folds of --exclude-pairs to use; none: all.")
    exclude_casia_lfw: bool = setting(
        True, "Leave out the three identities of CASIA-WebFace that are in LFW."
    )
    min_images: int = setting(1, "Leave out identities with fewer readable images than this.")
    height: int = setting(112, "Height of the faces in pixels.")
    width: int = setting(96, "Width of the faces in pixels.")
    seed: int = setting(0, "Seed of the global shuffle.")
    workers: int = setting(0, "Processes; 0: one a core, or one if there are few images.")
    overwrite: bool = setting(False, "Replace a folder of records that exists.")
    runner: str = setting("", "Apache Beam runner to convert on, instead of on this machine.")
    beam_options: tuple[str, ...] = setting((), "Options of Beam, after a lone --.", rest=True)
    verify: str = setting("", "Folder of records whose shards to compare with their checksums.")

    @property
    def aligns(self) -> bool:
        """Whether faces are aligned, by landmarks from wherever."""
        return bool(self.align or self.landmarks or self.detect)
