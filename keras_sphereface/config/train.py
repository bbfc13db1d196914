"""Settings of training, and of several workers of it."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from keras_sphereface.config.choices import (
    BIAS_RULES,
    HEADS,
    INPUT_RANGES,
    INPUT_RANGES_HELP,
    LANDMARK_COLUMNS_HELP,
    NETWORKS,
    OPTIMIZER_SLOTS,
    PAIR_COLUMNS_HELP,
    SCHEDULES,
    default_words,
)
from keras_sphereface.config.fields import setting

SETTINGS_FILE, RUN_FILE = "config.yaml", "run.json"  # of a run, in its folder
# Settings that may change between a run and its continuation.
MAY_CHANGE = (
    *("data", "workdir", "log_steps", "checkpoint_steps", "accumulate_steps", "jit", "remat"),
    "keep_checkpoints",
    *("total_steps", "epochs"),  # more of them only
    *("old_images", "old_pairs", "old_landmarks", "old_bin", "old_folds"),
    *("verify_steps", "verify_images", "verify_pairs", "verify_landmarks"),
    *("verify_bin", "verify_folds", "landmark_columns", "pair_columns"),
)


def has_begun(workdir: str | os.PathLike) -> bool:
    """Return whether a folder holds a run that has taken a step, to be continued."""
    # Before the first step there is nothing to continue.
    steps = any(Path(workdir).glob("checkpoints/step-*[1-9]*"))
    return steps and (Path(workdir) / SETTINGS_FILE).is_file()


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train a SphereFace network, by default as in the paper, scaled to the size of the run.

    Example:

    >>> config = TrainConfig(data="records", workdir="runs/cosface", head="cosface", m=0.3)
    >>> config.backbone, config.batch_size, config.total_steps
    ('sphereface20', 256, 28000)
    """

    example: ClassVar[str] = "--data records --workdir runs/first"

    # {earlier name of a setting: its name}, for config.yaml of runs that an earlier version began.
    renamed: ClassVar[Mapping[str, str]] = {
        "chunk_size": "block_size",
        "images_per_person": "images_per_identity",
        "split_classes": "shard_classes",
        "warm_start": "margin_warmup_steps",
        "warmup_steps": "lr_warmup_steps",
    }

    # {what the flags of other programs are called: the setting that is meant}.
    synonyms: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("loss", "classifier"), "head"),
        **dict.fromkeys(("records", "dataset", "source", "images", "train_data"), "data"),
        **dict.fromkeys(("out", "output", "save_dir", "logdir"), "workdir"),
        **dict.fromkeys(("network", "model"), "backbone"),
        **dict.fromkeys(("pretrained", "resume", "weights", "finetune"), "start_from"),
    }

    data: str = setting(
        "",
        "Folder of records to train on; by default faces are generated.",
        group="data",
        common=True,
        path="folder",
        origin="`sphereface convert` makes records of a folder of faces.",
    )
    workdir: str = setting(
        "runs/sphereface",
        "Output folder for checkpoints, logs and the exported model.",
        group="output",
        common=True,
        path="output",
    )
    backbone: str = setting(
        "sphereface20",
        f"Network: {', '.join(NETWORKS)}; keras:NAME, a network of keras.applications, for example "
        "keras:MobileNetV2; or module:function, a function that returns a Keras model from images "
        "to vectors.",
        choices=tuple(NETWORKS),
        group="network",
        common=True,
        aliases=("arch",),
        other="keras:NAME or module:function",
    )
    input_range: str | None = setting(
        None,
        "Pixels that the network takes. " + INPUT_RANGES_HELP,
        tuple(INPUT_RANGES),
        group="network",
    )
    width: float = setting(
        1.0,
        "Factor > 0 on the number of channels of a SphereFace network.",
        group="network",
        common=True,
    )
    batch_norm: bool = setting(
        False,
        "Give a SphereFace network batch normalization, which the paper's has not; it helps with "
        "few images.",
        group="network",
    )
    embedding_size: int = setting(
        512, "Number of values of an embedding (FC1), at least 1.", group="network", minimum=1
    )
    start_from: str = setting(
        "",
        "Trained network to start from, for other identities: the folder of a run, its export, a "
        ".keras file, or weights of Caffe or PyTorch. The network is that of the start; class "
        "weights of identities that the records share with the start are kept, by name.",
        group="start",
        common=True,
        path="input",
    )
    freeze_stages: int = setting(
        0,
        "Number of first stages of the network that are not trained, at least 0; a stage is what "
        "works on feature maps of one size, 5 in a SphereFace network with FC1.",
        group="start",
        minimum=0,
    )
    layer_decay: float = setting(
        1.0,
        "Factor, above 0 and up to 1, by which the learning rate falls from each stage of the "
        "network to the one below it; the last stage and the head have the whole rate.",
        group="start",
    )
    hold_batch_norm: bool = setting(
        False,
        "Keep averages, scale and offset of batch normalization as they are at the start.",
        group="start",
    )
    new_classes: str = setting(
        "mean",
        "Class weights that identities which the start does not have begin with.",
        {
            "mean": "the mean of the embeddings of their faces by the start (imprinting)",
            "random": "random ones, as in a training from nothing",
        },
        group="start",
    )
    old_images: str = setting(
        "",
        "Folder of the images of the old test set, on which the network is evaluated before the "
        "first and after the last step. By default the pairs that the run to start from verified.",
        group="start",
        path="folder",
    )
    old_pairs: str = setting(
        "",
        "List of the pairs of the old test set, as --pairs of `sphereface evaluate`.",
        group="start",
        path="input",
    )
    old_landmarks: str = setting(
        "", "File of five points for each image of --old-images.", group="start", path="file"
    )
    old_bin: str = setting(
        "",
        "InsightFace's verification set (.bin) as the old test set, in place of --old-images, "
        "--old-pairs and --old-landmarks.",
        group="start",
        path="file",
    )
    old_folds: tuple[int, ...] = setting(
        (),
        "Folds of the pairs of the old test set, counted from 1; by default all.",
        group="start",
        minimum=1,
    )
    head: str = setting(
        "asoftmax",
        "Head: the classifier and its loss.",
        {name: head.help for name, head in HEADS.items()},
        group="head",
        common=True,
    )
    m: float | None = setting(
        None,
        "Margin of the head; --m 1 with asoftmax is modified softmax. "
        f"By default {default_words('m')}.",
        group="head",
        common=True,
        aliases=("margin",),
    )
    term_weight: float | None = setting(
        None,
        f"Weight of the second loss term. By default {default_words('term_weight')}.",
        group="head",
    )
    scale: float | str | None = setting(
        None,
        "Length to which embeddings are scaled; auto: sqrt(2) ln(C - 1) for C identities. By "
        f"default {default_words('scale')}.",
        group="head",
        words=("auto",),
    )
    num_centers: int | None = setting(
        None,
        "Number of class weights of each identity with subcenter-arcface, at least 1. By default "
        "3.",
        group="head",
        minimum=1,
    )
    margin_std: float | None = setting(
        None,
        "Standard deviation of the margins that elasticface draws, at least 0. By default 0.05.",
        group="head",
    )
    m_max: float | None = setting(
        None,
        "Margin of magface at |x| = --norm-max, at least --m, which is that at --norm-min. By "
        "default 0.8.",
        group="head",
    )
    norm_min: float | None = setting(
        None, "Shortest |x| that the margin of magface follows. By default 10.", group="head"
    )
    norm_max: float | None = setting(
        None, "Longest |x| that the margin of magface follows. By default 110.", group="head"
    )
    embedding_norm: str | None = setting(
        None,
        "Length of the embeddings with sphereface-r: hard (scaled), free, or soft "
        "(penalized). By default hard.",
        ("hard", "free", "soft"),
        group="head",
    )
    gradient: str | None = setting(
        None,
        f"Gradient through the margin. By default {default_words('gradient')}.",
        ("exact", "caffe", "detached"),
        group="head",
    )
    kernel_norm: str | None = setting(
        None,
        "Normalization of the class weights: through (divided by their norm, the default), "
        "or projected (kept at unit norm by a constraint).",
        ("through", "projected"),
        group="head",
    )
    block_size: int | None = setting(
        None,
        "Number of classes whose logits are in memory at once, at least 1; by default all "
        "up to 262,144.",
        group="head",
        minimum=1,
    )
    sample_rate: float = setting(
        1.0,
        "Share of the classes, in (0, 1], that a training step samples (Partial FC).",
        group="head",
    )
    semi_siamese: bool = setting(
        False,
        "Semi-siamese training, for identities with one or two images: the class weights are not "
        "trained but are prototypes, embeddings by a moving average of the network (the gallery "
        "network). Batches hold two images of each identity, or one image augmented twice.",
        group="head",
    )
    queue_size: int | None = setting(
        None,
        "Number of the newest prototypes that --semi-siamese compares with, a multiple of the "
        "batch size. By default 16384, or the multiple below it.",
        group="head",
        minimum=2,
    )
    gallery_momentum: float = setting(
        0.999,
        "Momentum of the gallery network of --semi-siamese, from 0 to 0.999999: the share of it "
        "that a step keeps. In the first steps it is lower, at most t / (t + 9) after step t.",
        group="head",
    )
    margin_warmup_steps: int = setting(
        0,
        "Number of first steps without a margin, before the annealing begins.",
        group="annealing",
        minimum=0,
    )
    base: float = setting(
        1000.0,
        "Annealing: base of lambda = max(lambda_min, base (1 + gamma step)^-power), at least 0.",
        group="annealing",
    )
    gamma: float | None = setting(
        None,
        "Annealing: gamma of lambda = max(lambda_min, base (1 + gamma step)^-power), at least 0. "
        "By default 0.12, or so large that lambda is lambda_min by 4/7 of the steps.",
        group="annealing",
    )
    power: float = setting(
        1.0,
        "Annealing: power of lambda = max(lambda_min, base (1 + gamma step)^-power), at least 0.",
        group="annealing",
    )
    lambda_min: float = setting(
        5.0, "Annealing: lowest lambda, at least 0; 0 ends at the full margin.", group="annealing"
    )
    shard_classes: bool = setting(
        False,
        "Divide the class weights, their gradients and momentum over the devices.",
        group="distribution",
    )
    batch_size: int = setting(
        256,
        "Global batch size: images of a step over the devices of all workers, at least 1.",
        group="data",
        common=True,
        aliases=("batch",),
        minimum=1,
    )
    images_per_identity: int | None = setting(
        None,
        "Number of images of each identity in a batch (PK sampling); all encoded images are "
        "then held in memory. 0: shuffled images. By default as the head needs.",
        group="data",
        minimum=0,
    )
    accumulate_steps: int = setting(
        1,
        "Number of micro-batches into which a batch is divided to save memory, at least 1.",
        group="data",
        minimum=1,
    )
    total_steps: int = setting(
        28_000,
        "Number of optimizer steps, at least 1; more of them continue a finished run.",
        group="optimizer",
        common=True,
        aliases=("steps",),
        minimum=1,
    )
    epochs: float = setting(
        0.0,
        "Number of passes over the data, in place of --total-steps; 0: --total-steps counts.",
        group="optimizer",
        common=True,
    )
    optimizer: str = setting(
        "sgd",
        "Optimizer of network and head; sgd is the paper's.",
        tuple(OPTIMIZER_SLOTS),
        group="optimizer",
    )
    learning_rate: float | None = setting(
        None,
        "Highest learning rate, at least 0. By default 0.1 with sgd and 0.001 with adam.",
        group="optimizer",
        common=True,
        aliases=("lr",),
    )
    schedule: str = setting(
        "steps",
        "Learning rate over the T steps of the run: "
        + "; ".join(f"{name}: {text}" for name, text in SCHEDULES.items())
        + ".",
        tuple(SCHEDULES),
        group="optimizer",
    )
    lr_warmup_steps: int | None = setting(
        None,
        "Number of first steps in which the learning rate rises linearly. By default a twentieth "
        "of the steps, at most 1,000; none in a run as large as the paper's.",
        group="optimizer",
        minimum=0,
    )
    bias_rule: str | None = setting(
        None,
        "Training of the network's biases. "
        + "; ".join(f"{name}: {text}" for name, text in BIAS_RULES.items())
        + ". By default caffe with the SphereFace networks, plain with others.",
        tuple(BIAS_RULES),
        group="optimizer",
    )
    momentum: float = setting(0.9, "Momentum of SGD, from 0 to 0.999.", group="optimizer")
    weight_decay: float = setting(
        5e-4,
        "Factor of the L2 term in the gradient, as in Caffe, at least 0; see --bias-rule.",
        group="optimizer",
        aliases=("wd",),
    )
    clipnorm: float | None = setting(
        None,
        "Largest L2 norm of the gradient of all weights together; 0: no clipping. By default 1, "
        "or 0 in a run as large as the paper's: batches of 512, 28,000 steps, 10,572 identities.",
        group="optimizer",
    )
    teacher: tuple[str, ...] = setting(
        (),
        "SavedModel folders of networks whose embeddings the network learns to give beside its own "
        "task (distillation); of several, the cosines of their ensemble. Not those that were "
        "trained on identities that will be judged.",
        group="network",
        path="input",
    )
    teacher_weight: float = setting(
        10.0,
        "Factor > 0 of the distillation's term, 1 - cosine of the network's embedding and that of "
        "--teacher.",
        group="network",
    )
    ema: float = setting(
        0.0,
        "Decay of the moving averages of the weights that are verified and exported, for "
        "example 0.999; 0: no averages.",
        group="network",
    )
    precision: str = setting(
        "float32",
        "Dtype policy of the network; with mixed_bfloat16, weights and head stay float32.",
        ("float32", "mixed_bfloat16", "float64"),
        group="network",
    )
    jit: bool = setting(False, "Compile forward and backward pass with XLA.", group="network")
    remat: bool = setting(
        False,
        "Save memory: compute the activations inside of residual blocks again in the backward "
        "pass, in place of keeping them. A step takes up to a third longer.",
        group="network",
    )
    shift: float = setting(
        0.0, "Augmentation: shift images by up to this many pixels.", group="augmentation"
    )
    zoom: float = setting(
        0.0, "Augmentation: scale images by a factor within 1 +- this.", group="augmentation"
    )
    rotation: float = setting(
        0.0, "Augmentation: rotate images by up to this many degrees.", group="augmentation"
    )
    brightness: float = setting(
        0.0, "Augmentation: change the brightness by up to this share of 255.", group="augmentation"
    )
    contrast: float = setting(
        0.0,
        "Augmentation: multiply the contrast by a factor within 1 +- this.",
        group="augmentation",
    )
    erase: float = setting(
        0.0, "Augmentation: erase a box of up to this share of each side.", group="augmentation"
    )
    crop: float = setting(
        0.0, "Augmentation: crop up to this share of each side.", group="augmentation"
    )
    saturation: float = setting(
        0.0,
        "Augmentation: multiply the saturation by a factor within 1 +- this.",
        group="augmentation",
    )
    low_resolution: float = setting(
        0.0,
        "Augmentation: share of images whose resolution is reduced up to 4 times.",
        group="augmentation",
    )
    log_steps: int = setting(
        100, "Number of steps between two rows of the log, at least 1.", group="logging", minimum=1
    )
    checkpoint_steps: int = setting(
        1000, "Number of steps between two checkpoints, at least 1.", group="logging", minimum=1
    )
    keep_checkpoints: int = setting(
        2, "Number of the newest checkpoints that are kept, at least 2.", group="logging", minimum=2
    )
    verify_steps: int = setting(
        0,
        "Number of steps between two verifications of pairs; 0: no verification.",
        group="verification",
        minimum=0,
    )
    verify_images: str = setting(
        "",
        "Folder of the images to verify during training, as --images of `sphereface evaluate`.",
        group="verification",
        path="folder",
    )
    verify_pairs: str = setting(
        "",
        "List of the pairs to verify during training, as --pairs of `sphereface evaluate`.",
        group="verification",
        path="input",
    )
    verify_landmarks: str = setting(
        "",
        "File of five points for each image of --verify-images.",
        group="verification",
        path="file",
    )
    landmark_columns: str = setting(
        "", "Columns of --verify-landmarks, " + LANDMARK_COLUMNS_HELP, group="verification"
    )
    pair_columns: str = setting(
        "", "Columns of --verify-pairs, " + PAIR_COLUMNS_HELP, group="verification"
    )
    verify_bin: str = setting(
        "",
        "InsightFace's verification set (.bin), in place of --verify-images, --verify-pairs "
        "and --verify-landmarks.",
        group="verification",
        path="file",
    )
    verify_folds: tuple[int, ...] = setting(
        (),
        "Folds of the pairs to verify during training, counted from 1; by default all.",
        group="verification",
        minimum=1,
    )
    gradient_precision: str = setting(
        "full",
        "Precision in which devices and workers send each other gradients.",
        {
            "full": "that of the weights",
            "bfloat16": "half as many bytes, 8 binary digits, the range of float32",
            "float16": "half as many bytes, 11 binary digits, below 6e-8 zero",
        },
        group="distribution",
    )
    worker_shards: bool = setting(
        False,
        "Let each worker read its share of the shards only; otherwise every worker reads "
        "all shards, and the batches equal those of one worker.",
        group="distribution",
    )
    seed: int = setting(
        0, "Seed for start weights, shuffling and augmentation.", group="logging", minimum=0
    )


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """Run a command, or a Python program, as several workers of one training on this machine.

    Example:

    >>> LaunchConfig(workers=4, program=("train", "--data", "records")).workers
    4
    """

    example: ClassVar[str] = "--workers 2 -- train --data records"

    workers: int = setting(
        2, "Number of processes, at least 1; the GPUs are divided among them.", minimum=1
    )
    program: tuple[str, ...] = setting(
        (),
        "A command of sphereface, or a script, and its arguments, after a lone --.",
        rest=True,
    )
