"""Settings of what makes records: conversion and generated faces."""

import dataclasses

from keras_sphereface.config.choices import SOURCE_KINDS
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
    """Turn faces of any source into sharded TFRecords."""

    source: str = setting(
        "",
        f"{'; '.join(SOURCE_KINDS.values())}; or a folder of such files",
    )
    out: str = setting("", "folder for the shards, dataset.json and tables")
    landmarks: str = setting("", "five points an image; with it every face is aligned")
    detect: bool = setting(False, "find missing landmarks with MTCNN, and align every face")
    align: bool = setting(False, "align every face by landmarks that the source has itself")
    contact_sheet: str = setting("", "PNG file for a sample of what the network will see")
    num_shards: int = setting(0, "0: as many as hold 100 to 200 MB each")
    exclude: str = setting("", "file of identities or patterns to leave out, one a line")
    exclude_pairs: str = setting("", "list of pairs; everyone in them is left out")
    exclude_folds: tuple[int, ...] = setting((), "of exclude-pairs, only these folds")
    exclude_casia_lfw: bool = setting(
        True, "leave out the three people of CASIA-WebFace who are in LFW"
    )
    min_images: int = setting(1, "leave out identities with fewer images than this")
    height: int = setting(112, "height of the faces in pixels")
    width: int = setting(96, "width of the faces in pixels")
    seed: int = setting(0, "of the global shuffle")
    workers: int = setting(0, "processes; 0: one a core, or one if there are few images")
    overwrite: bool = setting(False, "replace a folder of records that exists")
    runner: str = setting("", "convert on this Apache Beam runner instead of on this machine")
    beam_options: tuple[str, ...] = setting((), "Beam's own options, after a lone --", rest=True)
    verify: str = setting("", "folder of records: only compare its shards with their checksums")
