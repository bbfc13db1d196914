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

    data: str = setting("", "Folder of records to train on; by default faces are generated.")
    workdir: str = setting(
        "runs/sphereface", "Output folder for checkpoints, logs and the exported model."
    )
    backbone: str = setting(
        "sphereface20",
        f"Network: {', '.join(NETWORKS)}, or module:function that returns a Keras model.",
    )
    width: float = setting(1.0, "Factor > 0 on the number of channels of a SphereFace network.")
    embedding_size: int = setting(512, "Number of values of an embedding (FC1), at least 1.")
    head: str = setting(
        "asoftmax",
        "Head: the classifier and its loss. "
        + "; ".join(f"{name}: {head.help}" for name, head in HEADS.items())
        + ".",
        tuple(HEADS),
    )
    m: float | None = setting(
        None,
        "Margin of the head; --m 1 with asoftmax is modified softmax. "
        f"By default {default_words('m')}.",
    )
    term_weight: float | None = setting(
        None, f"Weight of the second loss term. By default {default_words('term_weight')}."
    )
    scale: float | None = setting(
        None, f"Length to which embeddings are scaled. By default {default_words('scale')}."
    )
    embedding_norm: str | None = setting(
        None,
        "Length of the embeddings with sphereface-r: hard (scaled), free, or soft "
        "(penalized). By default hard.",
        ("hard", "free", "soft"),
    )
    gradient: str | None = setting(
        None,
        f"Gradient through the margin. By default {default_words('gradient')}.",
        ("exact", "caffe", "detached"),
    )
    kernel_norm: str | None = setting(
        None,
        "Normalization of the class weights: through (divided by their norm, the default), "
        "or projected (kept at unit norm by a constraint).",
        ("through", "projected"),
    )
    block_size: int | None = setting(
        None,
        "Number of classes whose logits are in memory at once, at least 1; by default all "
        "up to 262,144.",
    )
    sample_rate: float = setting(
        1.0, "Share of the classes, in (0, 1], that a training step samples (Partial FC)."
    )
    margin_warmup_steps: int = setting(
        0, "Number of first steps without a margin, before the annealing begins."
    )
    base: float = setting(
        1000.0,
        "Annealing: base of lambda = max(lambda_min, base (1 + gamma step)^-power), at least 0.",
    )
    gamma: float = setting(
        0.12,
        "Annealing: gamma of lambda = max(lambda_min, base (1 + gamma step)^-power), at least 0.",
    )
    power: float = setting(
        1.0,
        "Annealing: power of lambda = max(lambda_min, base (1 + gamma step)^-power), at least 0.",
    )
    lambda_min: float = setting(
        5.0, "Annealing: lowest lambda, at least 0; 0 ends at the full margin."
    )
    shard_classes: bool = setting(
        False, "Divide the class weights, their gradients and momentum over the devices."
    )
    batch_size: int = setting(
        256, "Global batch size: images of a step over the devices of all workers, at least 1."
    )
    images_per_identity: int | None = setting(
        None,
        "Number of images of each identity in a batch (PK sampling); all encoded images are "
        "then held in memory. 0: shuffled images. By default as the head needs.",
    )
    accumulate_steps: int = setting(
        1, "Number of micro-batches into which a batch is divided to save memory, at least 1."
    )
    total_steps: int = setting(28_000, "Number of optimizer steps, at least 1.")
    epochs: float = setting(
        0.0, "Number of passes over the data, in place of --total-steps; 0: --total-steps counts."
    )
    optimizer: str = setting(
        "sgd", "Optimizer of network and head; sgd is the paper's.", tuple(OPTIMIZER_SLOTS)
    )
    learning_rate: float = setting(0.1, "Highest learning rate, at least 0.")
    schedule: str = setting(
        "steps",
        "Learning rate over the T steps of the run: "
        + "; ".join(f"{name}: {text}" for name, text in SCHEDULES.items())
        + ".",
        tuple(SCHEDULES),
    )
    lr_warmup_steps: int = setting(
        0, "Number of first steps in which the learning rate rises linearly."
    )
    momentum: float = setting(0.9, "Momentum of SGD, from 0 to 0.999.")
    weight_decay: float = setting(
        5e-4, "Factor of the L2 term in the gradient, as in Caffe, at least 0; biases have none."
    )
    clipnorm: float = setting(
        0.0, "Largest L2 norm of the gradient of all weights together; 0: no clipping."
    )
    ema: float = setting(
        0.0,
        "Decay of the moving averages of the weights that are verified and exported, for "
        "example 0.999; 0: no averages.",
    )
    precision: str = setting(
        "float32",
        "Dtype policy of the network; with mixed_bfloat16, weights and head stay float32.",
        ("float32", "mixed_bfloat16", "float64"),
    )
    jit: bool = setting(False, "Compile forward and backward pass with XLA.")
    shift: float = setting(0.0, "Augmentation: shift images by up to this many pixels.")
    zoom: float = setting(0.0, "Augmentation: scale images by a factor within 1 +- this.")
    rotation: float = setting(0.0, "Augmentation: rotate images by up to this many degrees.")
    brightness: float = setting(
        0.0, "Augmentation: change the brightness by up to this share of 255."
    )
    contrast: float = setting(
        0.0, "Augmentation: multiply the contrast by a factor within 1 +- this."
    )
    erase: float = setting(0.0, "Augmentation: erase a box of up to this share of each side.")
    crop: float = setting(0.0, "Augmentation: crop up to this share of each side.")
    saturation: float = setting(
        0.0, "Augmentation: multiply the saturation by a factor within 1 +- this."
    )
    low_resolution: float = setting(
        0.0, "Augmentation: share of images whose resolution is reduced up to 4 times."
    )
    log_steps: int = setting(100, "Number of steps between two rows of the log, at least 1.")
    checkpoint_steps: int = setting(1000, "Number of steps between two checkpoints, at least 1.")
    verify_steps: int = setting(
        0, "Number of steps between two verifications of pairs; 0: no verification."
    )
    verify_images: str = setting(
        "", "Folder of the images to verify during training, as --images of tools/evaluate.py."
    )
    verify_pairs: str = setting(
        "", "List of the pairs to verify during training, as --pairs of tools/evaluate.py."
    )
    verify_landmarks: str = setting("", "File of five points for each image of --verify-images.")
    verify_bin: str = setting(
        "",
        "InsightFace's verification set (.bin), in place of --verify-images, --verify-pairs "
        "and --verify-landmarks.",
    )
    verify_folds: tuple[int, ...] = setting(
        (), "Folds of the pairs to verify during training, counted from 1; by default all."
    )
    worker_shards: bool = setting(
        False,
        "Let each worker read its share of the shards only; otherwise every worker reads "
        "all shards, and the batches equal those of one worker.",
    )
    seed: int = setting(0, "Seed for start weights, shuffling and augmentation.")


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """Run a Python program as several workers of one training, on this machine.

    Example:

    >>> LaunchConfig(workers=4, program=("examples/train_casia.py", "--data", "records")).workers
    4
    """

    workers: int = setting(2, "Number of processes, at least 1; the GPUs are divided among them.")
    program: tuple[str, ...] = setting(
        (), "A script and its arguments, after a lone --.", rest=True
    )
