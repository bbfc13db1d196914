"""Settings of the benchmarks."""

import dataclasses

from keras_sphereface.config.choices import NETWORKS
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class HeadBenchmarkConfig:
    """Time and memory of a training step of every head, beside a plain Dense layer."""

    out: str = setting(help="folder for head.csv, head.md, head.png and the XLA programs")
    batch_size: int = setting(256, "B")
    embedding_size: int = setting(512, "D")
    num_classes: int = setting(10_572, "C of the table")
    sweep: tuple[int, ...] = setting(
        (1_000, 10_572, 100_000, 262_144, 1_000_000), "values of C of the image"
    )
    cases: tuple[str, ...] = setting((), "only these rows of the table, beside Dense; empty: all")
    repeats: int = setting(30, "rounds of the table; one of the image has a tenth, at least 3")
    seed: int = setting(0, "of embeddings, labels and class weights")


@dataclasses.dataclass(frozen=True)
class ConvergenceBenchmarkConfig:
    """Does A-Softmax converge? Runs on generated faces, each beside its m = 1."""

    out: str = setting(help="folder for convergence.csv and convergence.md")
    networks: int = setting(5, "how many of the five pairs of network and faces")
    m: tuple[int, ...] = setting((2, 3, 4, 6), "the margins")
    total_steps: int = setting(1_700, "optimizer steps of a run; lambda is 5 from 1,659 on")
    width: float = setting(0.125, "factor on the channels of the networks")
    batch_size: int = setting(32, "images a step")
    workers: int = setting(1, "runs at the same time")
    seed: int = setting(0, "of faces and of the first run")


@dataclasses.dataclass(frozen=True)
class DataBenchmarkConfig:
    """Speed and memory of conversions and of the pipeline, beside what none can do without."""

    out: str = setting(help="folder for data.csv and data.md, and for the images")
    source: str = setting("", "class folders to measure with; empty: generated faces")
    landmarks: str = setting("", "five points for each image of source")
    num_images: int = setting(16_000, "images; those of the source again if it has less")
    side: int = setting(250, "images are widened to this, which CASIA's and LFW's have; 0: not")
    memory_images: int = setting(200_000, "small images for the memory of a conversion; 0: none")
    repeats: int = setting(5, "rounds in which all cases take turns")
    seed: int = setting(0, "of generated faces and of the orders")


@dataclasses.dataclass(frozen=True)
class TrainBenchmarkConfig:
    """Speed of whole training steps, on one device and several, beside network and Dense alone."""

    out: str = setting(help="folder for train.csv and train.md, and for the runs")
    data: str = setting("", "folder of records; empty: two generated faces of each class")
    num_classes: int = setting(10_572, "C, if the faces are generated")
    backbone: str = setting("sphereface20", ", ".join(NETWORKS))
    width: float = setting(1.0, "factor on its channels")
    batch_size: int = setting(32, "global: each device of n works on the n-th part")
    split: int = setting(2, "devices, and workers, that share the work of one")
    steps: int = setting(4, "in a turn")
    repeats: int = setting(12, "rounds in which all cases take turns")
    memory_classes: int = setting(400_000, "classes for the memory of a split head; 0: none")
    seed: int = setting(0, "of faces, start weights and orders")


@dataclasses.dataclass(frozen=True)
class EvaluateBenchmarkConfig:
    """Speed and memory of the evaluation, beside what none can do without."""

    out: str = setting(help="folder for evaluate.csv and evaluate.md, and for the network")
    images: str = setting("", "class folders to measure with; empty: generated faces")
    landmarks: str = setting("", "five points for each image of images")
    backbone: str = setting("sphereface20", ", ".join(NETWORKS))
    width: float = setting(1.0, "factor on its channels")
    num_images: int = setting(256, "images embedded in a turn")
    batch_size: int = setting(64, "images embedded at once")
    num_pairs: int = setting(6000, "for the protocols, in ten folds")
    num_probes: int = setting(3500, "images that are searched for")
    num_distractors: int = setting(1_000_000, "strangers among whom; 0: no search")
    repeats: int = setting(7, "rounds in which embedding and network, or protocols, take turns")
    search_repeats: int = setting(3, "rounds in which search and products take turns")
    seed: int = setting(0, "of everything")
