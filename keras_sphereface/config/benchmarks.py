"""Settings of the benchmarks."""

import dataclasses

from keras_sphereface.config.choices import NETWORKS
from keras_sphereface.config.fields import setting

_BACKBONES = ", ".join(NETWORKS)


@dataclasses.dataclass(frozen=True)
class HeadBenchmarkConfig:
    """Measure time and memory of a training step of every head, beside a plain Dense layer.

    Example:
        >>> HeadBenchmarkConfig(out="runs/benchmark").num_classes
        10572
    """

    out: str = setting(help="folder for head.csv, head.md, head.png and the XLA programs")
    batch_size: int = setting(256, "images in a batch, at least 1")
    embedding_size: int = setting(512, "size of an embedding, at least 1")
    num_classes: int = setting(10_572, "classes of the table, at least 8")
    sweep: tuple[int, ...] = setting(
        (1_000, 10_572, 100_000, 262_144, 1_000_000), "numbers of classes of the figure"
    )
    cases: tuple[str, ...] = setting((), "rows of the table beside Dense; empty: all")
    repeats: int = setting(30, "rounds of the table; the figure has a tenth of them, at least 3")
    seed: int = setting(0, "seed for embeddings, labels and class weights")


@dataclasses.dataclass(frozen=True)
class ConvergenceBenchmarkConfig:
    """Compare the training accuracy of A-Softmax with that of m = 1, on generated faces.

    Example:
        >>> ConvergenceBenchmarkConfig(out="runs/convergence").m
        (2, 3, 4, 6)
    """

    out: str = setting(help="folder for convergence.csv, convergence.md and the runs")
    num_networks: int = setting(5, "pairs of network and faces, 1 to 5")
    m: tuple[int, ...] = setting((2, 3, 4, 6), "margins beside m = 1")
    total_steps: int = setting(
        1_700, "optimizer steps of a run, at least 5; lambda is 5 from step 1,659 on"
    )
    width: float = setting(0.125, "factor on the channels of the networks")
    batch_size: int = setting(32, "images in a batch")
    workers: int = setting(1, "runs at the same time, at least 1")
    seed: int = setting(0, "seed for the faces and the first run")


@dataclasses.dataclass(frozen=True)
class DataBenchmarkConfig:
    """Measure speed and memory of conversion and pipeline, beside the least work they must do.

    Example:
        >>> DataBenchmarkConfig(out="runs/data").side
        250
    """

    out: str = setting(help="folder for data.csv, data.md and the images")
    source: str = setting("", "folder of class folders with images; empty: generated faces")
    landmarks: str = setting("", "file with five points for each image of --source")
    num_images: int = setting(16_000, "images; those of --source are used again if it has fewer")
    side: int = setting(
        250, "least height and width of an image in pixels, as in CASIA and LFW; 0: unchanged"
    )
    memory_images: int = setting(
        200_000, "small images for the memory of a conversion; 0: memory is not measured"
    )
    repeats: int = setting(5, "interleaved rounds, at least 1")
    seed: int = setting(0, "seed for the generated faces and the orders of the cases")


@dataclasses.dataclass(frozen=True)
class TrainBenchmarkConfig:
    """Measure the speed of training steps, on one device and several, beside network and Dense.

    Example:
        >>> TrainBenchmarkConfig(out="runs/train").backbone
        'sphereface20'
    """

    out: str = setting(help="folder for train.csv, train.md and the runs")
    data: str = setting("", "folder of records; empty: two generated faces of each class")
    num_classes: int = setting(10_572, "classes of the generated faces")
    backbone: str = setting("sphereface20", f"network: {_BACKBONES}")
    width: float = setting(1.0, "factor on the channels of the network")
    batch_size: int = setting(32, "images in a batch, all devices together")
    num_devices: int = setting(2, "devices, or workers, that share the work of one")
    steps: int = setting(4, "training steps of a round, at least 1")
    repeats: int = setting(12, "interleaved rounds, at least 1")
    memory_classes: int = setting(
        400_000, "classes for the memory of a class-sharded head; 0: memory is not measured"
    )
    seed: int = setting(0, "seed for faces, start weights and the orders of the cases")


@dataclasses.dataclass(frozen=True)
class EvaluateBenchmarkConfig:
    """Measure speed and memory of the evaluation, beside the least work it must do.

    Example:
        >>> EvaluateBenchmarkConfig(out="runs/evaluate").num_distractors
        1000000
    """

    out: str = setting(help="folder for evaluate.csv, evaluate.md and the network")
    images: str = setting("", "folder of class folders with images; empty: generated faces")
    landmarks: str = setting("", "file with five points for each image of --images")
    backbone: str = setting("sphereface20", f"network: {_BACKBONES}")
    width: float = setting(1.0, "factor on the channels of the network")
    num_images: int = setting(256, "images embedded in a round, at least 1")
    batch_size: int = setting(64, "images embedded at once, at least 1")
    num_pairs: int = setting(6000, "pairs for the protocols, in ten folds, at least 20")
    num_probes: int = setting(3500, "probes of 80 identities for the search, at least 160")
    num_distractors: int = setting(1_000_000, "distractors of the search; 0: no search")
    repeats: int = setting(7, "interleaved rounds of embedding and of the protocols, at least 1")
    search_repeats: int = setting(3, "interleaved rounds of the search")
    seed: int = setting(0, "seed for faces, start weights and embeddings")


BENCHMARK_CONFIGS = {
    "head": HeadBenchmarkConfig,
    "convergence": ConvergenceBenchmarkConfig,
    "data": DataBenchmarkConfig,
    "train": TrainBenchmarkConfig,
    "evaluate": EvaluateBenchmarkConfig,
}
