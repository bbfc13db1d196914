"""Settings of feature spheres, margin figures and the comparison of losses."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import HEADS, LANDMARK_COLUMNS_HELP, PAIR_COLUMNS_HELP
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class SpheresConfig:
    """Train 2-D or 3-D embeddings with softmax and several m, and draw them side by side.

    Example:
        >>> SpheresConfig(out="runs/spheres").m
        (1, 2, 3, 4)
    """

    example: ClassVar[str] = "--out runs/spheres"

    out: str = setting(
        help="Output folder for the figures (.png, .svg, -dark.png), spheres.csv and spheres.md.",
        group="output",
        path="output",
    )
    data: str = setting(
        "", "Folder of records; by default faces are generated.", group="data", path="folder"
    )
    m: tuple[int, ...] = setting(
        (1, 2, 3, 4), "Margins to train with, each at least 1.", group="training", minimum=1
    )
    softmax: bool = setting(True, "Add a column of plain softmax.", group="training")
    dim: int = setting(0, "Size of an embedding, 2 or 3; 0: both.", (0, 2, 3), group="training")
    num_identities: int = setting(
        8, "Number of identities, 2 to 8; those with most images are used.", group="data", minimum=2
    )
    total_steps: int = setting(
        300,
        "Number of optimizer steps for each loss, at least 1.",
        group="training",
        aliases=("steps",),
        minimum=1,
    )
    seed: int = setting(
        0,
        "Seed for faces, and for start weights, batches and test images of the first run.",
        group="training",
        minimum=0,
    )
    num_seeds: int = setting(
        1,
        "Number of runs, with seed, seed + 1, ..., at least 1; the figures show the first.",
        group="training",
        minimum=1,
    )
    animate: bool = setting(
        False,
        "Write training_2d.gif and training_3d.gif, animations of the embeddings in training.",
        group="output",
    )
    rotate: bool = setting(
        False, "Write rotating.gif, an animation of the rotating 3-D spheres.", group="output"
    )
    html: bool = setting(
        False,
        "Write spheres.html with interactive 3-D spheres; needs pip install "
        "'keras-sphereface[interactive]'.",
        group="output",
    )
    projector: bool = setting(
        False,
        "Write the folder projector/ for `tensorboard --logdir OUT/projector`.",
        group="output",
    )


# A-Softmax is compared at several margins, which are separate losses here.
ASOFTMAX_MARGINS = {"modified-softmax": 1, "asoftmax-2": 2, "asoftmax-3": 3, "asoftmax-4": 4}
# {loss of the comparison: its head}
LOSSES: dict[str, str] = {
    loss: head for head in HEADS for loss in (ASOFTMAX_MARGINS if head == "asoftmax" else (head,))
}


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """Train one network with every loss, and verify pairs of identities never trained on.

    Network, data, number of steps, batch size, optimizer and augmentation are the same for all
    losses. They are those of a short run of a small network; after a lone `--` any flag of
    `sphereface train` changes them for all, for example `-- --total-steps 1000`.

    Example:
        >>> CompareConfig(out="runs/losses").losses[:3]
        ('softmax', 'normface', 'modified-softmax')
    """

    example: ClassVar[str] = "--out runs/losses --losses softmax asoftmax-4"

    out: str = setting(
        help="Output folder for losses.csv, losses.md, the figure, and each run.",
        group="output",
        path="output",
    )
    data: str = setting(
        "",
        "Folder of records to train on; by default faces and pairs are generated.",
        group="data",
        path="folder",
    )
    images: str = setting(
        "",
        "Folder of the images to verify with --data, as in `sphereface evaluate`.",
        group="verification",
        path="folder",
    )
    pairs: str = setting(
        "",
        "List of the pairs to verify, of identities that are not in --data.",
        group="verification",
        path="input",
    )
    landmarks: str = setting(
        "", "File of five points for each image of --images.", group="verification", path="file"
    )
    landmark_columns: str = setting(
        "", "Columns of --landmarks, " + LANDMARK_COLUMNS_HELP, group="verification"
    )
    pair_columns: str = setting(
        "", "Columns of --pairs, " + PAIR_COLUMNS_HELP, group="verification"
    )
    bin: str = setting(
        "",
        "Verification set (.bin), in place of --images, --pairs and --landmarks.",
        group="verification",
        path="file",
    )
    folds: tuple[int, ...] = setting(
        (),
        "Folds of the pairs to verify, counted from 1; by default all.",
        group="verification",
        minimum=1,
    )
    losses: tuple[str, ...] = setting(
        tuple(LOSSES), "Losses to compare.", tuple(LOSSES), group="training"
    )
    num_seeds: int = setting(
        3,
        "Number of runs of each loss, with seed, seed + 1, ..., at least 1.",
        group="training",
        minimum=1,
    )
    seed: int = setting(
        0,
        "Seed for faces, start weights, batches and the order of the runs.",
        group="training",
        minimum=0,
    )
    training: tuple[str, ...] = setting(
        (),
        "Flags of `sphereface train` for all runs, after a lone --.",
        rest=True,
        group="training",
    )


@dataclasses.dataclass(frozen=True)
class MarginFiguresConfig:
    """Draw the geometry of the loss: psi, boundaries, bounds of m, annealing, target logits.

    Example:
        >>> MarginFiguresConfig(out="runs/margin").angle
        60.0
    """

    example: ClassVar[str] = "--out runs/margins"

    out: str = setting(
        help="Output folder for the figures (.png, .svg, -dark.png) and bounds.csv.", path="output"
    )
    m: int = setting(
        4, "Margin of the decision boundaries, at least 2.", aliases=("margin",), minimum=2
    )
    angle: float = setting(
        60.0, "Angle between the class weights of the decision boundaries in degrees, 30 to 170."
    )
