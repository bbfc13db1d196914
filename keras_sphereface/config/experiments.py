"""Settings of feature spheres, margin figures and the comparison of losses."""

import dataclasses

from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class SpheresConfig:
    """Train 2-D or 3-D embeddings with softmax and several m, and draw them side by side."""

    out: str = setting(help="folder for the images (.png, .svg), spheres.csv and spheres.md")
    data: str = setting("", "folder of records; empty: generated faces")
    m: tuple[int, ...] = setting((1, 2, 3, 4), "the margins")
    softmax: bool = setting(True, "a column of plain softmax too")
    dim: int = setting(0, "2 or 3; 0: both", (0, 2, 3))
    people: int = setting(8, "the people with most images are used")
    total_steps: int = setting(300, "optimizer steps for each loss")
    seed: int = setting(0, "of faces, of the first run's start weights, batches and test images")
    num_seeds: int = setting(1, "runs, with seed, seed + 1, ...; the first is drawn")
    animate: bool = setting(False, "training_2d.gif and training_3d.gif: the training as a film")
    turn: bool = setting(False, "turning.gif: the 3-D spheres from all sides")
    html: bool = setting(False, "spheres.html: the 3-D spheres to turn and hover; needs plotly")
    projector: bool = setting(False, "projector/: for tensorboard --logdir OUT/projector")


LOSSES = (
    *("softmax", "modified-softmax", "asoftmax-2", "asoftmax-3", "asoftmax-4", "sphereface+"),
    *("sphereface-r-v1", "sphereface-r-v2", "sphereface2", "normface", "cosface", "arcface"),
    *("softmax+contrastive", "softmax+center", "triplet", "triplet-hard"),
)


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """Train one network with every loss, and verify pairs of people never trained on.

    Network, data, number of steps and images a step, optimizer and augmentation are the same
    for all. They are those of a short run of a small network; after a lone `--` any flag of
    examples/train_casia.py changes them for all, for example `-- --total-steps 1000`.
    """

    out: str = setting(help="folder for losses.csv, losses.md, the image, and each run")
    data: str = setting("", "folder of records; empty: generated faces, and pairs of them")
    images: str = setting("", "with data: folder of the images to verify, as tools/evaluate.py")
    pairs: str = setting("", "list of their pairs, of people who are not in data")
    landmarks: str = setting("", "five points an image")
    bin: str = setting("", "verification set (.bin), instead of those three")
    folds: tuple[int, ...] = setting((), "only these folds of the pairs, counted from 1")
    losses: tuple[str, ...] = setting(LOSSES, "which losses", LOSSES)
    num_seeds: int = setting(3, "runs of each loss, with seed, seed + 1, ...")
    seed: int = setting(0, "of faces, start weights, batches and the order of the runs")
    training: tuple[str, ...] = setting((), "flags of training, after a lone --", rest=True)


@dataclasses.dataclass(frozen=True)
class MarginFiguresConfig:
    """Draw the geometry of the loss: psi, boundaries, bounds of m, annealing, target logits."""

    out: str = setting(help="folder for the images (.png and .svg) and bounds.csv")
    m: int = setting(4, "the margin of the boundaries")
    angle: float = setting(60.0, "between the class weights of the boundaries, 30 to 170 degrees")
