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

    out: str = setting(help="folder for the figures (.png, .svg), spheres.csv and spheres.md")
    data: str = setting("", "folder of records; empty: generated faces")
    m: tuple[int, ...] = setting((1, 2, 3, 4), "margins, each at least 1")
    softmax: bool = setting(True, "add a column of plain softmax")
    dim: int = setting(0, "size of an embedding, 2 or 3; 0: both", (0, 2, 3))
    num_identities: int = setting(8, "identities, 2 to 8; those with most images are used")
    total_steps: int = setting(300, "optimizer steps for each loss, at least 1")
    seed: int = setting(
        0, "seed for faces, and for start weights, batches and test images of the first run"
    )
    num_seeds: int = setting(1, "runs, with seed, seed + 1, ...; the first is drawn")
    animate: bool = setting(False, "write training_2d.gif and training_3d.gif: clouds in training")
    rotate: bool = setting(False, "write rotating.gif: the 3-D spheres from all sides")
    html: bool = setting(
        False, "write spheres.html: interactive 3-D spheres; needs the extra `interactive`"
    )
    projector: bool = setting(False, "write projector/, for tensorboard --logdir OUT/projector")


# A-Softmax is compared at several margins, which are heads of their own here.
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

    out: str = setting(help="folder for losses.csv, losses.md, the figure, and each run")
    data: str = setting("", "folder of records; empty: generated faces, and pairs of them")
    images: str = setting("", "with --data: folder of images to verify, as in tools/evaluate.py")
    pairs: str = setting("", "list of their pairs, of identities that are not in --data")
    landmarks: str = setting("", "file with five points for each of these images")
    bin: str = setting("", "verification set (.bin), instead of --images, --pairs, --landmarks")
    folds: tuple[int, ...] = setting((), "use these folds of the pairs only, counted from 1")
    losses: tuple[str, ...] = setting(tuple(LOSSES), "losses to compare", tuple(LOSSES))
    num_seeds: int = setting(3, "runs of each loss, with seed, seed + 1, ...")
    seed: int = setting(0, "seed for faces, start weights, batches and the order of the runs")
    training: tuple[str, ...] = setting((), "flags of training, after a lone --", rest=True)


@dataclasses.dataclass(frozen=True)
class MarginFiguresConfig:
    """Draw the geometry of the loss: psi, boundaries, bounds of m, annealing, target logits.

    Example:
        >>> MarginFiguresConfig(out="runs/margin").angle
        60.0
    """

    out: str = setting(help="folder for the figures (.png and .svg) and bounds.csv")
    m: int = setting(4, "margin of the boundaries, at least 2")
    angle: float = setting(
        60.0, "angle between the class weights of the boundaries in degrees, 30 to 170"
    )
