"""Settings of training, and of several workers of it."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from keras_sphereface.config.choices import (
    HEADS,
    NETWORKS,
    OPTIMIZER_SLOTS,
    SCHEDULES,
    default_words,
)
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train a SphereFace network. The defaults are the paper's, for CASIA-WebFace.

    Example:

    >>> config = TrainConfig(data="records", workdir="runs/cosface", head="cosface", m=0.3)
    >>> config.backbone, config.batch_size, config.total_steps
    ('sphereface20', 256, 28000)
    """

    # {earlier name of a setting: its name}, for config.yaml of runs that an earlier version began.
    renamed: ClassVar[Mapping[str, str]] = {
        "chunk_size": "block_size",
        "images_per_person": "images_per_identity",
        "split_classes": "shard_classes",
        "warm_start": "margin_warmup_steps",
        "warmup_steps": "lr_warmup_steps",
    }

    data: str = setting("", "folder of records; empty: generated faces")
    workdir: str = setting("runs/sphereface", "output folder for checkpoints, logs and the export")
    backbone: str = setting(
        "sphereface20", f"network: {', '.join(NETWORKS)}, or module:function that returns a model"
    )
    width: float = setting(1.0, "factor, > 0, on the channels of a SphereFace network")
    embedding_size: int = setting(512, "size of the embedding (FC1), >= 1")
    head: str = setting(
        "asoftmax",
        "classifier and loss; " + "; ".join(f"{name}: {head.help}" for name, head in HEADS.items()),
        tuple(HEADS),
    )
    m: float | None = setting(
        None, f"margin; 1 with asoftmax: modified softmax; by default {default_words('m')}"
    )
    term_weight: float | None = setting(
        None, f"factor on the second term; by default {default_words('term_weight')}"
    )
    scale: float | None = setting(
        None, f"norm given to the embeddings; by default {default_words('scale')}"
    )
    embedding_norm: str | None = setting(
        None, "sphereface-r: hard, free or soft norm of the embeddings", ("hard", "free", "soft")
    )
    gradient: str | None = setting(
        None,
        f"gradient of the margin; by default {default_words('gradient')}",
        ("exact", "caffe", "detached"),
    )
    kernel_norm: str | None = setting(
        None, "projected: class weights are kept at unit norm", ("through", "projected")
    )
    block_size: int | None = setting(
        None, "classes computed at once, to save memory; by default all up to 262,144 classes"
    )
    sample_rate: float = setting(
        1.0, "share of the classes, in (0, 1], that are sampled at a step (Partial FC)"
    )
    margin_warmup_steps: int = setting(0, "first steps without margin, before the annealing begins")
    base: float = setting(1000.0, "annealing: lambda before the first step, >= 0")
    gamma: float = setting(0.12, "annealing: lambda = base (1 + gamma step)^-power")
    power: float = setting(1.0, "annealing: see gamma")
    lambda_min: float = setting(5.0, "annealing: lowest lambda, >= 0; 0: the full margin")
    shard_classes: bool = setting(
        False, "each device holds the class weights of its share of the classes only"
    )
    batch_size: int = setting(256, "images of a step, over the devices of all workers")
    images_per_identity: int | None = setting(
        None,
        "images of each identity in a batch (PK sampling), which then holds batch-size / this "
        "identities, all images in memory; 0: shuffled images; by default as the head needs it",
    )
    accumulate_steps: int = setting(
        1, "micro-batches that a batch is divided into, to save memory; >= 1"
    )
    total_steps: int = setting(28_000, "optimizer steps, >= 1")
    epochs: float = setting(0.0, "passes over the data instead of total-steps, if above 0")
    optimizer: str = setting("sgd", "optimizer; sgd as in the paper", tuple(OPTIMIZER_SLOTS))
    learning_rate: float = setting(0.1, "highest learning rate, >= 0")
    schedule: str = setting(
        "steps",
        "learning rate over the T steps of the run; "
        + "; ".join(f"{name}: {text}" for name, text in SCHEDULES.items()),
        tuple(SCHEDULES),
    )
    lr_warmup_steps: int = setting(0, "first steps in which the learning rate rises linearly")
    momentum: float = setting(0.9, "momentum of SGD, in [0, 1)")
    weight_decay: float = setting(
        5e-4, "factor of the L2 term in the gradient, as in Caffe; biases have none"
    )
    clipnorm: float = setting(
        0.0, "maximal L2 norm of the gradient of all weights together; 0: no clipping"
    )
    ema: float = setting(
        0.0, "export moving averages of the weights with this decay, for example 0.999; 0: weights"
    )
    precision: str = setting(
        "float32",
        "dtype policy of the network; with mixed_bfloat16 weights and head are float32",
        ("float32", "mixed_bfloat16", "float64"),
    )
    jit: bool = setting(False, "compile forward and backward pass with XLA")
    shift: float = setting(0.0, "augmentation: shift by up to this many pixels")
    zoom: float = setting(0.0, "augmentation: scale by 1 +- this")
    rotation: float = setting(0.0, "augmentation: rotate by up to this many degrees")
    brightness: float = setting(0.0, "augmentation: add up to this share of 255")
    contrast: float = setting(0.0, "augmentation: contrast times 1 +- this")
    erase: float = setting(0.0, "augmentation: erase a box of up to this share of each side")
    crop: float = setting(0.0, "augmentation: crop up to this share of each side")
    saturation: float = setting(0.0, "augmentation: saturation times 1 +- this")
    low_resolution: float = setting(
        0.0, "augmentation: share of the images of a resolution up to 4 times lower"
    )
    log_steps: int = setting(100, "steps between two rows of the log, >= 1")
    checkpoint_steps: int = setting(1000, "steps between two checkpoints, >= 1")
    verify_steps: int = setting(0, "steps between two verifications of pairs; 0: none")
    verify_images: str = setting("", "verification: folder of images, as in tools/evaluate.py")
    verify_pairs: str = setting("", "verification: list of pairs")
    verify_landmarks: str = setting("", "verification: five points for each image")
    verify_bin: str = setting("", "verification: InsightFace's .bin, instead of those three")
    verify_folds: tuple[int, ...] = setting(
        (), "verification: numbers of the folds, from 1; default: all"
    )
    worker_shards: bool = setting(
        False,
        "each of several workers reads its own shards; else every worker reads all, and their "
        "batches together are those of one worker",
    )
    seed: int = setting(0, "seed of start weights, shuffling and augmentation")


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """Run a Python program as several workers of one training, on this machine.

    Example:

    >>> LaunchConfig(workers=4, program=("examples/train_casia.py", "--data", "records")).workers
    4
    """

    workers: int = setting(2, "processes, among which the GPUs are divided; >= 1")
    program: tuple[str, ...] = setting((), "a script and its arguments, after a lone --", rest=True)
