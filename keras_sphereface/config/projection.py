"""Settings of the linear map behind a network."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import (
    LANDMARK_COLUMNS_HELP,
    PAIR_COLUMNS_HELP,
    PROJECTIONS,
)
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class FitProjectionConfig:
    """Fit a linear map of embeddings on records, and fold it into the export as a dense layer.

    Method and shrinkage are chosen by cross-validation over the identities of the records. Give
    records of identities that the network was not trained on: those it knows look better than
    any other.

    Example:
        >>> FitProjectionConfig(model="export", data="records", out="projected").num_folds
        5
    """

    example: ClassVar[str] = "--model runs/first/export --data colleagues --out runs/projected"

    model: str = setting(
        help="Network: a SavedModel folder, or a .keras file.",
        group="network and output",
        common=True,
        path="input",
    )
    data: str = setting(
        help="Folder of records whose identities the map is fitted on.",
        group="network and output",
        common=True,
        path="folder",
    )
    out: str = setting(
        help="Output folder for the export, projection.csv, projection.npz and evaluation.",
        group="network and output",
        common=True,
        path="output",
    )
    method: tuple[str, ...] = setting(
        tuple(PROJECTIONS),
        "Methods to choose from. "
        + "; ".join(f"{name}: {text}" for name, text in PROJECTIONS.items())
        + ".",
        tuple(PROJECTIONS),
        group="map",
        common=True,
    )
    shrinkage: tuple[float, ...] = setting(
        (0.01, 0.1, 0.3, 0.6, 0.9),
        "Shrinkages of the covariance to choose from, each from 0 to 1.",
        group="map",
        common=True,
    )
    embedding_size: int | None = setting(
        None,
        "Number of values of a mapped embedding, at least 1; by default as many as there are, "
        "with lda and plda at most the number of identities less 1.",
        group="map",
        minimum=1,
    )
    num_folds: int = setting(
        5,
        "Number of parts of the identities in the cross-validation, at least 2.",
        group="map",
        minimum=2,
    )
    force: bool = setting(
        False,
        "Write the best map even if it is not better than none by two standard errors.",
        group="map",
        common=True,
    )
    pairs: str = setting(
        "",
        "List of pairs, of other identities than the records, on which the network is judged "
        "before and after.",
        group="judging",
        common=True,
        path="input",
    )
    pair_columns: str = setting("", "Columns of --pairs, " + PAIR_COLUMNS_HELP, group="judging")
    images: str = setting(
        "", "Folder of the images of the pairs.", group="judging", common=True, path="folder"
    )
    landmarks: str = setting(
        "",
        "File of five points for each image of the pairs, by which every face is aligned.",
        group="judging",
        common=True,
        path="file",
    )
    landmark_columns: str = setting(
        "", "Columns of --landmarks, " + LANDMARK_COLUMNS_HELP, group="judging"
    )
    folds: tuple[int, ...] = setting(
        (),
        "Folds of the pairs to use, counted from 1; by default all.",
        group="judging",
        common=True,
        minimum=1,
    )
    bootstrap: int = setting(
        1000,
        "Number of bootstrap draws for the 95 per cent intervals; 0 computes none.",
        group="judging",
        minimum=0,
    )
    batch_size: int = setting(
        64,
        "Number of images embedded at once, at least 1.",
        group="map",
        aliases=("batch",),
        minimum=1,
    )
    seed: int = setting(0, "Seed for the parts of the identities.", group="map", minimum=0)
