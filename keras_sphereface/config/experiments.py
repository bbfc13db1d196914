"""Settings of feature spheres, margin figures and the comparison of losses."""

import dataclasses

from keras_sphereface.config.choices import HEADS
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class SpheresConfig:
    """Train 2-D or 3-D embeddings with softmax and several m, and draw them side by side.

    Example:
        >>> SpheresConfig(out="runs/spheres").m
        (1, 2, 3, 4)
    """

    out: str = setting(
        help="Output folder for the figures (.png, .svg), spheres.csv and spheres.md."
    )
    data: str = setting("", "Folder of records; by default faces are generated.")
    m: tuple[int, ...] = setting((1, 2, 3, 4), "Margins to train with, each at least 1.")
    softmax: bool = setting(True, "Add a column of plain softmax.")
    dim: int = setting(0, "Size of an embedding, 2 or 3; 0: both.", (0, 2, 3))
    num_identities: int = setting(
        8, "Number of identities, 2 to 8; those with most images are used."
    )
    total_steps: int = setting(300, "Number of optimizer steps for each loss, at least 1.")
    seed: int = setting(
        0, "Seed for faces, and for start weights, batches and test images of the first run."
    )
    num_seeds: int = setting(
        1, "Number of runs, with seed, seed + 1, ..., at least 1; the figures show the first."
    )
    animate: bool = setting(
        False,
        "Write training_2d.gif and training_3d.gif, animations of the embeddings in training.",
    )
    rotate: bool = setting(False, "Write rotating.gif, an animation of the rotating 3-D spheres.")
    html: bool = setting(
        False,
        "Write spheres.html with interactive 3-D spheres; needs pip install "
        "keras-sphereface[interactive].",
    )
    projector: bool = setting(
        False, "Write the folder projector/ for `tensorboard --logdir OUT/projector`."
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
    examples/train_casia.py changes them for all, for example `-- --total-steps 1000`.

    Example:
        >>> CompareConfig(out="runs/losses").losses[:3]
        ('softmax', 'normface', 'modified-softmax')
    """

    out: str = setting(help="Output folder for losses.csv, losses.md, the figure, and each run.")
    data: str = setting(
        "", "Folder of records to train on; by default faces and pairs are generated."
    )
    images: str = setting(
        "", "Folder of the images to verify with --data, as in tools/evaluate.py."
    )
    pairs: str = setting("", "List of the pairs to verify, of identities that are not in --data.")
    landmarks: str = setting("", "File of five points for each image of --images.")
    bin: str = setting(
        "", "Verification set (.bin), in place of --images, --pairs and --landmarks."
    )
    folds: tuple[int, ...] = setting(
        (), "Folds of the pairs to verify, counted from 1; by default all."
    )
    losses: tuple[str, ...] = setting(tuple(LOSSES), "Losses to compare.", tuple(LOSSES))
    num_seeds: int = setting(
        3, "Number of runs of each loss, with seed, seed + 1, ..., at least 1."
    )
    seed: int = setting(0, "Seed for faces, start weights, batches and the order of the runs.")
    training: tuple[str, ...] = setting(
        (), "Flags of train_casia.py for all runs, after a lone --.", rest=True
    )


@dataclasses.dataclass(frozen=True)
class MarginFiguresConfig:
    """Draw the geometry of the loss: psi, boundaries, bounds of m, annealing, target logits.

    Example:
        >>> MarginFiguresConfig(out="runs/margin").angle
        60.0
    """

    out: str = setting(help="Output folder for the figures (.png and .svg) and bounds.csv.")
    m: int = setting(4, "Margin of the decision boundaries, at least 2.")
    angle: float = setting(
        60.0, "Angle between the class weights of the decision boundaries in degrees, 30 to 170."
    )
