"""Settings of training, and of several workers of it."""

import dataclasses

from keras_sphereface.config.choices import HEADS, NETWORKS, default_words
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train a SphereFace network. The defaults are the paper's, for CASIA-WebFace."""

    data: str = setting("", "folder of records; empty: generated faces")
    workdir: str = setting("runs/sphereface", "where checkpoints, logs and the export go")
    backbone: str = setting(
        "sphereface20", f"{', '.join(NETWORKS)}, or module:function that returns a model"
    )
    width: float = setting(1.0, "factor on the channels of a SphereFace network")
    embedding_size: int = setting(512, "size of FC1, the embedding")
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
        None, f"length given to the embeddings; by default {default_words('scale')}"
    )
    embedding_norm: str | None = setting(
        None, "sphereface-r: hard, free or soft length", ("hard", "free", "soft")
    )
    gradient: str | None = setting(
        None,
        f"gradient of the margin; by default {default_words('gradient')}",
        ("exact", "caffe", "detached"),
    )
    kernel_norm: str | None = setting(
        None, "projected: class weights kept at unit length", ("through", "projected")
    )
    block_size: int | None = setting(
        None, "classes at once, to save memory; by default all up to 262,144 classes"
    )
    sample_rate: float = setting(1.0, "share of the classes seen at a step (Partial FC)")
    margin_warmup_steps: int = setting(0, "first steps with m = 1, before the annealing begins")
    base: float = setting(1000.0, "annealing: lambda before the first step")
    gamma: float = setting(0.12, "annealing: lambda = base (1 + gamma step)^-power")
    power: float = setting(1.0, "annealing: see gamma")
    lambda_min: float = setting(5.0, "annealing: lambda never falls below this")
    shard_classes: bool = setting(
        False, "each device holds the weights of its share of the classes only"
    )
    batch_size: int = setting(256, "global: split over the devices of all workers")
    images_per_identity: int | None = setting(
        None,
        "batches of so many images of each of batch-size / this people, from all that there are, "
        "in memory; 0: shuffled images; by default as the head needs it",
    )
    accumulate_steps: int = setting(
        1, "work on a batch in this many parts, one after another, to save memory"
    )
    total_steps: int = setting(28_000, "optimizer steps")
    epochs: float = setting(0.0, "passes over the data instead of total-steps, if above 0")
    optimizer: str = setting("sgd", "the authors' is sgd", ("sgd", "adam"))
    learning_rate: float = setting(0.1, "the highest")
    schedule: str = setting(
        "steps",
        "steps: the authors', times 0.1 at 4/7 and at 6/7 of the steps",
        ("steps", "cosine", "constant"),
    )
    lr_warmup_steps: int = setting(0, "first steps in which the rate rises linearly")
    momentum: float = setting(0.9, "of SGD")
    weight_decay: float = setting(5e-4, "L2, inside the gradient as in Caffe; not on biases")
    clipnorm: float = setting(0.0, "longest gradient of all weights together; 0: any")
    ema: float = setting(0.0, "export averages of the weights with this decay, say 0.999; 0: not")
    precision: str = setting(
        "float32",
        "of the network; with mixed_bfloat16 weights and head are float32",
        ("float32", "mixed_bfloat16", "float64"),
    )
    jit: bool = setting(False, "compile forward and backward pass with XLA")
    shift: float = setting(0.0, "augmentation: shift by up to this many pixels")
    zoom: float = setting(0.0, "augmentation: scale by 1 +- this")
    rotation: float = setting(0.0, "augmentation: turn by up to this many degrees")
    brightness: float = setting(0.0, "augmentation: add up to this share of 255")
    contrast: float = setting(0.0, "augmentation: contrast times 1 +- this")
    erase: float = setting(0.0, "augmentation: blank a box of up to this share of each side")
    crop: float = setting(0.0, "augmentation: cut up to this share off each side's length")
    saturation: float = setting(0.0, "augmentation: colors times 1 +- this")
    low_resolution: float = setting(0.0, "augmentation: share of coarse images, up to 4 times")
    log_steps: int = setting(100, "steps between two rows of the log")
    checkpoint_steps: int = setting(1000, "steps between two checkpoints")
    verify_steps: int = setting(0, "steps between two verifications of pairs; 0: none")
    verify_images: str = setting("", "for these, as in tools/evaluate.py: folder of images")
    verify_pairs: str = setting("", "list of pairs")
    verify_landmarks: str = setting("", "five points an image")
    verify_bin: str = setting("", "verification set (.bin), instead of those three")
    verify_folds: tuple[int, ...] = setting((), "only these folds, counted from 1")
    worker_shards: bool = setting(
        False, "of several workers each reads its own shards; else all read all, for equal batches"
    )
    seed: int = setting(0, "of start weights, shuffling and augmentation")


@dataclasses.dataclass(frozen=True)
class LaunchConfig:
    """Run a Python program as several workers of one training, on this machine."""

    workers: int = setting(2, "processes, among which the GPUs are shared out")
    program: tuple[str, ...] = setting((), "a script and its arguments, after a lone --", rest=True)
