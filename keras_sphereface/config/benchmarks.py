"""Settings of the benchmarks."""

import dataclasses
from typing import ClassVar

from keras_sphereface.config.choices import NETWORKS, OPTIMIZER_SLOTS
from keras_sphereface.config.fields import setting
from keras_sphereface.config.hardware import HARDWARE

_BACKBONES = ", ".join(NETWORKS)


@dataclasses.dataclass(frozen=True)
class HeadBenchmarkConfig:
    """Measure time and memory of a training step of every head, beside a plain Dense layer.

    Example:
        >>> HeadBenchmarkConfig(out="runs/benchmark").num_classes
        10572
    """

    example: ClassVar[str] = "--out runs/head"

    out: str = setting(
        help="Output folder for head.csv, head.md, head.png and the XLA programs.", path="output"
    )
    batch_size: int = setting(
        256, "Number of samples in a batch, at least 1.", aliases=("batch",), minimum=1
    )
    embedding_size: int = setting(512, "Number of values of an embedding, at least 1.", minimum=1)
    num_classes: int = setting(10_572, "Number of classes of the table, at least 8.", minimum=8)
    sweep: tuple[int, ...] = setting(
        (1_000, 10_572, 100_000, 262_144, 1_000_000),
        "Numbers of classes of the figure, each at least 8.",
        minimum=8,
    )
    cases: tuple[str, ...] = setting((), "Rows of the table beside Dense; by default all.")
    repeats: int = setting(
        30, "Number of rounds of the table, at least 1; the figure has a tenth of them.", minimum=1
    )
    seed: int = setting(0, "Seed for embeddings, labels and class weights.", minimum=0)


@dataclasses.dataclass(frozen=True)
class ConvergenceBenchmarkConfig:
    """Compare the training accuracy of A-Softmax with that of m = 1, on generated faces.

    Example:
        >>> ConvergenceBenchmarkConfig(out="runs/convergence").m
        (2, 3, 4, 6)
    """

    example: ClassVar[str] = "--out runs/convergence"

    out: str = setting(
        help="Output folder for convergence.csv, convergence.md and the runs.", path="output"
    )
    num_networks: int = setting(
        5, "Number of pairs of a network and generated faces, 1 to 5.", minimum=1
    )
    m: tuple[int, ...] = setting((2, 3, 4, 6), "Margins to compare with m = 1.", minimum=1)
    total_steps: int = setting(
        1_700,
        "Number of optimizer steps of a run, at least 5; lambda is 5 from step 1,659 on.",
        aliases=("steps",),
        minimum=5,
    )
    width: float = setting(0.125, "Factor > 0 on the number of channels of the networks.")
    batch_size: int = setting(
        32, "Number of images in a batch, at least 1.", aliases=("batch",), minimum=1
    )
    workers: int = setting(1, "Number of runs at the same time, at least 1.", minimum=1)
    seed: int = setting(0, "Seed for the faces and the first run.", minimum=0)


@dataclasses.dataclass(frozen=True)
class DefaultsBenchmarkConfig:
    """Train with default rate and annealing at several batch sizes; count runs that diverge.

    Example:
        >>> DefaultsBenchmarkConfig(out="runs/defaults").batch_sizes
        (16, 32, 64, 128, 256)
    """

    out: str = setting(help="Output folder for defaults.csv, defaults.md and the faces.")
    layers: tuple[int, ...] = setting((4, 20), "Numbers of layers of the networks.", minimum=1)
    batch_sizes: tuple[int, ...] = setting(
        (16, 32, 64, 128, 256), "Numbers of images in a batch.", minimum=1
    )
    num_seeds: int = setting(
        5, "Number of runs of each network and batch size, at least 1.", minimum=1
    )
    total_steps: int = setting(120, "Number of optimizer steps of a run, at least 1.", minimum=1)
    width: float = setting(0.25, "Factor > 0 on the number of channels of the networks.")
    embedding_size: int = setting(128, "Number of values of an embedding, at least 1.", minimum=1)
    shrink: int = setting(
        2, "Factor, at least 1, by which the faces, 112 x 96 pixels, are made smaller.", minimum=1
    )
    optimizer: str = setting("sgd", "Optimizer of all runs.", tuple(OPTIMIZER_SLOTS))
    seed: int = setting(0, "Seed for the faces and the first run.", minimum=0)


@dataclasses.dataclass(frozen=True)
class DataBenchmarkConfig:
    """Measure speed and memory of conversion and pipeline, beside the minimum work they must do.

    Example:
        >>> DataBenchmarkConfig(out="runs/data").side
        250
    """

    example: ClassVar[str] = "--out runs/data"

    out: str = setting(help="Output folder for data.csv, data.md and the images.", path="output")
    source: str = setting(
        "", "Folder of class folders with images; by default faces are generated.", path="folder"
    )
    landmarks: str = setting("", "File of five points for each image of --source.", path="file")
    num_images: int = setting(
        16_000, "Number of images; those of --source are repeated if it has fewer.", minimum=1
    )
    side: int = setting(
        250,
        "Smallest height and width of an image in pixels, as in CASIA and LFW; 0: unchanged.",
        minimum=0,
    )
    memory_images: int = setting(
        200_000,
        "Number of small images for the memory of a conversion; 0: memory is not measured.",
        minimum=0,
    )
    repeats: int = setting(5, "Number of interleaved rounds, at least 1.", minimum=1)
    seed: int = setting(0, "Seed for the generated faces and the orders of the cases.", minimum=0)


@dataclasses.dataclass(frozen=True)
class TrainBenchmarkConfig:
    """Measure the speed of training steps, on one device and several, beside network and Dense.

    Example:
        >>> TrainBenchmarkConfig(out="runs/train").backbone
        'sphereface20'
    """

    example: ClassVar[str] = "--out runs/train"

    out: str = setting(help="Output folder for train.csv, train.md and the runs.", path="output")
    data: str = setting(
        "", "Folder of records; by default faces of some classes are generated.", path="folder"
    )
    num_classes: int = setting(
        10_572, "Number of classes of the head with generated faces.", minimum=2
    )
    backbone: str = setting(
        "sphereface20", f"Network: {_BACKBONES}.", choices=tuple(NETWORKS), aliases=("arch",)
    )
    width: float = setting(1.0, "Factor > 0 on the number of channels of the network.")
    batch_size: int = setting(
        32, "Global batch size: images of a step over all devices.", aliases=("batch",), minimum=1
    )
    num_devices: int = setting(
        2,
        "Number of devices, or workers, that share the work of one; 1: no such cases.",
        minimum=1,
    )
    steps: int = setting(2, "Number of training steps of a round, at least 1.", minimum=1)
    repeats: int = setting(5, "Number of interleaved rounds, at least 1.", minimum=1)
    memory_classes: int = setting(
        0,
        "Number of classes, 400000 for example, for the memory of a class-sharded head; 0: none is "
        "measured.",
        minimum=0,
    )
    variants: tuple[str, ...] = setting(
        (),
        "Flags of `sphereface train` without their dashes that are timed beside the step without "
        "them, for example remat jit precision=mixed_bfloat16.",
    )
    step_memory: bool = setting(
        False, "Measure the peak memory of a step too, without flags and with each of --variants."
    )
    seed: int = setting(0, "Seed for faces, start weights and the orders of the cases.", minimum=0)


@dataclasses.dataclass(frozen=True)
class EvaluateBenchmarkConfig:
    """Measure speed and memory of the evaluation, beside the minimum work it must do.

    Example:
        >>> EvaluateBenchmarkConfig(out="runs/evaluate").num_distractors
        1000000
    """

    example: ClassVar[str] = "--out runs/evaluate"

    out: str = setting(
        help="Output folder for evaluate.csv, evaluate.md and the network.", path="output"
    )
    images: str = setting(
        "", "Folder of class folders with images; by default faces are generated.", path="folder"
    )
    landmarks: str = setting("", "File of five points for each image of --images.", path="file")
    backbone: str = setting(
        "sphereface20", f"Network: {_BACKBONES}.", choices=tuple(NETWORKS), aliases=("arch",)
    )
    width: float = setting(1.0, "Factor > 0 on the number of channels of the network.")
    num_images: int = setting(256, "Number of images embedded in a round, at least 1.", minimum=1)
    batch_size: int = setting(
        64, "Number of images embedded at once, at least 1.", aliases=("batch",), minimum=1
    )
    num_pairs: int = setting(
        6000, "Number of pairs for the protocols, in ten folds, at least 20.", minimum=20
    )
    num_probes: int = setting(
        3500, "Number of probes of 80 identities for the search, at least 160.", minimum=160
    )
    num_distractors: int = setting(
        1_000_000, "Number of distractors of the search; 0: no search.", minimum=0
    )
    repeats: int = setting(
        7, "Number of interleaved rounds of embedding and of the protocols, at least 1.", minimum=1
    )
    search_repeats: int = setting(
        3, "Number of interleaved rounds of the search, at least 1.", minimum=1
    )
    seed: int = setting(0, "Seed for faces, start weights and embeddings.", minimum=0)


@dataclasses.dataclass(frozen=True)
class IntervalsBenchmarkConfig:
    """Simulate pairs of known truth, and count the 95 % intervals that hold it.

    Example:
        >>> IntervalsBenchmarkConfig(out="runs/intervals").num_sets
        500
    """

    example: ClassVar[str] = "--out runs/intervals"

    out: str = setting(help="Output folder for intervals.csv and intervals.md.", path="output")
    num_sets: int = setting(
        500, "Number of simulated sets of pairs of each design, at least 1.", minimum=1
    )
    replicates: int = setting(
        300, "Number of bootstrap draws for the intervals of a set, at least 1.", minimum=1
    )
    seed: int = setting(0, "Seed for the simulated scores and the draws.", minimum=0)


@dataclasses.dataclass(frozen=True)
class ServingBenchmarkConfig:
    """Ask a service of this machine from many connections; count what is lost, time the rest.

    Example:
        >>> ServingBenchmarkConfig(out="runs/serving").concurrency
        16
    """

    example: ClassVar[str] = "--out runs/serving --model model.onnx --images faces/images"

    out: str = setting(
        help="Output folder for serving.csv, memory.csv and serving.md.", path="output"
    )
    model: str = setting(
        "",
        "Network: a SavedModel folder, or a .onnx, .tflite or .keras file; by default "
        "sphereface4 with start weights.",
        path="input",
    )
    detector: str = setting(
        "", "Detector of faces, as of `sphereface serve`; by default images are aligned faces."
    )
    images: str = setting(
        "", "Folder of class folders with images; by default faces are generated.", path="folder"
    )
    num_requests: int = setting(10_000, "Number of requests, at least 1.", minimum=1)
    concurrency: int = setting(16, "Number of connections at the same time.", minimum=1)
    num_identities: int = setting(200, "Number of enrolled identities, at least 2.", minimum=2)
    seed: int = setting(0, "Seed for the generated faces and the order of requests.", minimum=0)


@dataclasses.dataclass(frozen=True)
class GalleryBenchmarkConfig:
    """Measure galleries of several sizes: a probe's time, recall, memory and disk of each search.

    Example:
        >>> GalleryBenchmarkConfig(out="runs/gallery").sizes
        (1000, 10000, 100000)
    """

    example: ClassVar[str] = "--out runs/gallery"

    out: str = setting(
        help="Output folder for gallery.csv, gallery.md and, while it runs, the galleries.",
        path="output",
    )
    sizes: tuple[int, ...] = setting(
        (1_000, 10_000, 100_000),
        "Numbers of templates, each at least that of an identity; of files, 1000000 takes about "
        "ten minutes and 7 GB.",
        minimum=1,
    )
    embedding_size: int = setting(512, "Number of values of an embedding, at least 1.", minimum=1)
    templates_per_identity: int = setting(
        3, "Number of templates of each identity, at least 1.", minimum=1
    )
    num_probes: int = setting(200, "Number of probes of each search, at least 1.", minimum=1)
    seconds_per_case: float = setting(
        20.0, "Seconds, at least 0, after which a slow search gets no further probes."
    )
    postgres: str = setting(
        "",
        "URL of a database with pgvector, postgresql://..., in which schemas are made and dropped; "
        "by default only files are measured.",
    )
    seed: int = setting(0, "Seed for templates and probes.", minimum=0)


@dataclasses.dataclass(frozen=True)
class ScalingBenchmarkConfig:
    """Fit a model of step time and memory on this machine, and predict other devices and sizes.

    Example:
        >>> ScalingBenchmarkConfig(out="runs/scaling").devices
        (1, 8, 64)
    """

    example: ClassVar[str] = "--out runs/scaling"

    out: str = setting(
        help="Output folder for scaling.json, scaling.md and scaling.png.", path="output"
    )
    backbone: str = setting(
        "sphereface20", f"Network: {_BACKBONES}.", choices=tuple(NETWORKS), aliases=("arch",)
    )
    width: float = setting(1.0, "Factor > 0 on the number of channels of the network.")
    repeats: int = setting(
        5,
        "Number of interleaved rounds of each measurement; 0: nothing is measured, only predicted.",
        minimum=0,
    )
    batch_sizes: tuple[int, ...] = setting(
        (4, 8, 16, 32), "Numbers of images with which the network is timed.", minimum=1
    )
    head_classes: tuple[int, ...] = setting(
        (10_000, 40_000, 120_000),
        "Numbers of classes with which the head is timed, each at least 8.",
        minimum=8,
    )
    num_workers: int = setting(
        2, "Number of worker processes that exchange gradients, at least 2.", minimum=2
    )
    check_classes: int = setting(
        60_000,
        "Number of classes of the steps and of the memory that the model is checked on; 0: "
        "nothing is checked.",
        minimum=0,
    )
    hardware: str = setting(
        "a100-tf32", "Devices of the predictions, whose rates are assumptions.", tuple(HARDWARE)
    )
    device_tflops: float | None = setting(
        None, "10^12 operations per second of a device in a network; by default of --hardware."
    )
    head_tflops: float | None = setting(
        None,
        "10^12 operations per second of a device in large matrix products; by default of "
        "--hardware.",
    )
    memory_gbps: float | None = setting(
        None, "10^9 bytes per second between device and memory; by default of --hardware."
    )
    device_gigabytes: float | None = setting(
        None, "10^9 bytes of memory of a device; by default of --hardware."
    )
    link_gbps: float | None = setting(
        None,
        "10^9 bytes per second between devices of a machine, the bus bandwidth of nccl-tests; by "
        "default of --hardware.",
    )
    machine_link_gbps: float | None = setting(
        None,
        "10^9 bytes per second of bus bandwidth over several machines; by default of --hardware.",
    )
    latency_microseconds: float | None = setting(
        None,
        "10^-6 seconds of an empty collective, for each doubling of the devices; by default of "
        "--hardware.",
    )
    devices_per_machine: int | None = setting(
        None, "Number of devices of a machine; by default of --hardware.", minimum=1
    )
    devices: tuple[int, ...] = setting(
        (1, 8, 64), "Numbers of devices of the predictions.", minimum=1
    )
    batch_per_device: int = setting(
        64, "Number of images of a device in the predictions, at least 1.", minimum=1
    )
    num_classes: tuple[int, ...] = setting(
        (10_572, 1_000_000, 10_000_000, 100_000_000),
        "Numbers of identities of the predictions.",
        minimum=2,
    )
    embedding_size: int = setting(512, "Number of values of an embedding, at least 1.", minimum=1)
    sample_rate: float = setting(
        0.1, "Share of the classes that a step looks at, above 0, where classes are sampled."
    )
    optimizer: str = setting("sgd", "Optimizer of all runs.", tuple(OPTIMIZER_SLOTS))
    seed: int = setting(0, "Seed for arrays, start weights and the orders of the cases.", minimum=0)


BENCHMARK_CONFIGS = {
    "head": HeadBenchmarkConfig,
    "convergence": ConvergenceBenchmarkConfig,
    "defaults": DefaultsBenchmarkConfig,
    "data": DataBenchmarkConfig,
    "train": TrainBenchmarkConfig,
    "evaluate": EvaluateBenchmarkConfig,
    "intervals": IntervalsBenchmarkConfig,
    "gallery": GalleryBenchmarkConfig,
    "serving": ServingBenchmarkConfig,
    "scaling": ScalingBenchmarkConfig,
}
