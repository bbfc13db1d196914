"""Settings of galleries of enrolled identities."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.compare import (
    ALIGNED_HELP,
    DETECTOR_HELP,
    FACE_POLICIES,
    GALLERY_ORIGIN,
    JSON_HELP,
    LANDMARKS_HELP,
    LEAVE_OUT_POOR_HELP,
    NETWORK_ORIGIN,
    POINT_COLUMNS_HELP,
    POLICY_HELP,
)
from keras_sphereface.config.fields import setting

_FILE_HELP = "File of the gallery, or the URL of its database, postgresql://..."
_MODEL_HELP = (
    "Model whose embeddings the gallery holds: a SavedModel folder, or a .tflite, .onnx or .keras "
    "file; "
)


@dataclasses.dataclass(frozen=True)
class GalleryCreateConfig:
    """Write a gallery without identities, for the embeddings of one model.

    Example:
        >>> GalleryCreateConfig(gallery="people.db", model="runs/first/export").embedding_size
    """

    example: ClassVar[str] = "--gallery people.db --model runs/first/export"
    action: ClassVar[str] = "create"

    gallery: str = setting(
        help="File to write, which must be new, or the URL of a database with pgvector, "
        "postgresql://USER@HOST/DATABASE, and ?schema=NAME for one of several galleries.",
        path="output-file",
    )
    model: str = setting(
        help=_MODEL_HELP + "embeddings of another model are refused by its fingerprint.",
        path="input",
        origin=NETWORK_ORIGIN,
    )
    embedding_size: int | None = setting(
        None,
        "Size of the embeddings, at least 1; by default that of the first enrolled.",
        minimum=1,
    )


@dataclasses.dataclass(frozen=True)
class GalleryEnrollConfig:
    """Add the faces of images, or saved embeddings, to a gallery.

    Images that cannot be read or have no face are left out and listed. What is enrolled already is
    left out, so the same command may be repeated, and goes on where it was interrupted.

    Example:
        >>> GalleryEnrollConfig(gallery="people.db", embeddings=("embeddings.npz",)).identities
        ''
    """

    example: ClassVar[str] = "people --gallery people.db --model runs/first/export --detector mtcnn"
    action: ClassVar[str] = "enroll"
    positional: ClassVar[tuple[str, ...]] = ("images",)

    gallery: str = setting(help=_FILE_HELP, path="file", origin=GALLERY_ORIGIN, common=True)
    images: tuple[str, ...] = setting(
        (),
        "Folder with a folder for each identity; or, with --name or --by-file-name, images or "
        "folders of them.",
        path="input",
        common=True,
    )
    model: str = setting(
        "",
        _MODEL_HELP + "it embeds the images, and another one than that of the gallery is refused.",
        path="input",
        origin=NETWORK_ORIGIN,
        common=True,
    )
    name: str = setting(
        "", "Identity of all images; by default the name of the folder of each.", common=True
    )
    identities: str = setting(
        "",
        "List of the images to enroll, with lines `path<TAB or space>identity`; by default all, "
        "each under the name of its folder.",
        path="file",
    )
    by_file_name: bool = setting(
        False,
        "Take the identity of each image from its name, without suffix and number, in place of its "
        "folder: `ada 1.jpg` and `ada_2.png` are of ada.",
        common=True,
    )
    embeddings: tuple[str, ...] = setting(
        (),
        "Saved embeddings by key (.npz), as `sphereface embed` and `sphereface evaluate "
        "--save-embeddings` write them, in place of images; all files are enrolled, or none.",
        path="file",
    )
    detector: str = setting("", DETECTOR_HELP, common=True)
    aligned: bool = setting(False, ALIGNED_HELP, common=True)
    landmarks: str = setting("", LANDMARKS_HELP, path="file", common=True)
    landmark_columns: str = setting("", POINT_COLUMNS_HELP)
    policy: str = setting("exactly-one", POLICY_HELP, FACE_POLICIES, common=True)
    strict: bool = setting(False, LEAVE_OUT_POOR_HELP, common=True)
    keep_images: bool = setting(False, "Keep the image files in the gallery.")
    batch_size: int = setting(
        64, "Faces embedded and confirmed at once.", minimum=1, aliases=("batch",)
    )
    json: bool = setting(False, JSON_HELP)


@dataclasses.dataclass(frozen=True)
class GalleryListConfig:
    """List the identities of a gallery with the number of their templates and their quality.

    Example:
        >>> GalleryListConfig(gallery="people.db").json
        False
    """

    example: ClassVar[str] = "--gallery people.db"
    action: ClassVar[str] = "list"

    gallery: str = setting(help=_FILE_HELP, path="file", origin=GALLERY_ORIGIN)
    json: bool = setting(False, JSON_HELP)


@dataclasses.dataclass(frozen=True)
class GalleryRemoveConfig:
    """Remove identities from a gallery, so that nothing of them remains in its file.

    Example:
        >>> GalleryRemoveConfig(gallery="people.db", name=("ada",)).name
        ('ada',)
    """

    example: ClassVar[str] = "--gallery people.db --name ada"
    action: ClassVar[str] = "remove"

    gallery: str = setting(help=_FILE_HELP, path="file", origin=GALLERY_ORIGIN)
    name: tuple[str, ...] = setting(help="Names of the identities to remove.")


@dataclasses.dataclass(frozen=True)
class GalleryExportConfig:
    """Write all templates of a gallery as one file.

    Example:
        >>> GalleryExportConfig(gallery="people.db", out="people.npz").out
        'people.npz'
    """

    example: ClassVar[str] = "--gallery people.db --out people.npz"
    action: ClassVar[str] = "export"

    gallery: str = setting(help=_FILE_HELP, path="file", origin=GALLERY_ORIGIN)
    out: str = setting(
        help="File to write: NAME.npz, or NAME.parquet for other stores of vectors, which needs "
        "pip install 'keras-sphereface[parquet]'.",
        path="output-file",
    )


@dataclasses.dataclass(frozen=True)
class GalleryIndexConfig:
    """Build an index of a large gallery, and print the share of searches that it answers rightly.

    Searches use it from then on. Of a file: FAISS, for more than 100,000 templates. In PostgreSQL:
    the HNSW index of pgvector, for more than 10,000.

    Example:
        >>> GalleryIndexConfig(gallery="people.db").num_probes
        200
    """

    example: ClassVar[str] = "--gallery people.db"
    action: ClassVar[str] = "index"

    gallery: str = setting(help=_FILE_HELP, path="file", origin=GALLERY_ORIGIN)
    num_probes: int = setting(
        200, "Number of templates that are searched to measure the recall, at least 1.", minimum=1
    )


GalleryConfig = (
    GalleryCreateConfig
    | GalleryEnrollConfig
    | GalleryListConfig
    | GalleryRemoveConfig
    | GalleryExportConfig
    | GalleryIndexConfig
)
GALLERY_CONFIGS: dict[str, type[GalleryConfig]] = {
    config.action: config
    for config in (
        GalleryCreateConfig,
        GalleryEnrollConfig,
        GalleryListConfig,
        GalleryRemoveConfig,
        GalleryExportConfig,
        GalleryIndexConfig,
    )
}
