"""One frozen record of settings for each entry point; `command_line` reads them."""

import dataclasses
from collections.abc import Sequence


def setting(
    default=dataclasses.MISSING,
    help: str = "",
    choices: Sequence | None = None,
    rest: bool = False,
):
    """A field of a configuration: its default, and what `--help` says of it.

    One with `rest` takes all words of the command line after a lone `--`.
    """
    metadata = {"help": help, "choices": choices, "rest": rest}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class FacesConfig:
    """Generate faces in the form of LFW: pictures, landmarks, and pairs of further people."""

    out: str = setting(help="folder for images/, landmarks.txt, pairs.txt, test_people.txt")
    num_people: int = setting(60, "people to train on")
    images_per_person: int = setting(20, "pictures of each")
    num_test_people: int = setting(40, "further people, in the pairs only")
    num_folds: int = setting(2, "folds of the pairs")
    pairs_per_class: int = setting(150, "matched pairs a fold, and as many mismatched ones")
    seed: int = setting(0, "of everything")


@dataclasses.dataclass(frozen=True)
class RecordsConfig:
    """Turn faces of any source into sharded TFRecords."""

    source: str = setting(
        "",
        "folder of class folders (SOURCE/IDENTITY/IMAGE), list file, zip or tar archive, .rec or "
        ".parquet file, or a folder of those",
    )
    out: str = setting("", "folder for the shards, dataset.json and tables")
    landmarks: str = setting("", "five points a picture; with it every face is aligned")
    detect: bool = setting(False, "find missing landmarks with MTCNN, and align every face")
    align: bool = setting(False, "align every face by landmarks that the source has itself")
    contact_sheet: str = setting("", "PNG file for a sample of what the network will see")
    num_shards: int = setting(0, "0: as many as hold 100 to 200 MB each")
    exclude: str = setting("", "file of identities or patterns to leave out, one a line")
    exclude_pairs: str = setting("", "list of pairs; everyone in them is left out")
    exclude_folds: tuple[int, ...] = setting((), "of exclude-pairs, only these folds")
    exclude_casia_lfw: bool = setting(
        True, "leave out the three people of CASIA-WebFace who are in LFW"
    )
    min_images: int = setting(1, "leave out identities with fewer pictures than this")
    height: int = setting(112, "height of the faces in pixels")
    width: int = setting(96, "width of the faces in pixels")
    seed: int = setting(0, "of the global shuffle")
    workers: int = setting(0, "processes; 0: one a core, or one if there are few pictures")
    overwrite: bool = setting(False, "replace a folder of records that exists")
    runner: str = setting("", "convert on this Apache Beam runner instead of on this machine")
    beam_options: tuple[str, ...] = setting((), "Beam's own options, after a lone --", rest=True)
    verify: str = setting("", "folder of records: only compare its shards with their checksums")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train a SphereFace network. The defaults are the paper's, for CASIA-WebFace."""

    data: str = setting("", "folder of records; empty: generated faces")
    workdir: str = setting("runs/sphereface", "where checkpoints, logs and the export go")
    backbone: str = setting(
        "sphereface20", "sphereface4, 10, 20, 36 or 64, or module:function that returns a model"
    )
    width: float = setting(1.0, "factor on the channels of a SphereFace network")
    embedding_size: int = setting(512, "size of FC1, the embedding")
    head: str = setting(
        "asoftmax",
        "the classifier and its loss; softmax: the plain baseline",
        (
            *("softmax", "normface", "asoftmax", "sphereface+", "sphereface-r-v1"),
            *("sphereface-r-v2", "sphereface2", "cosface", "arcface"),
            *("softmax+contrastive", "softmax+center", "triplet", "triplet-hard"),
        ),
    )
    m: float | None = setting(
        None, "the margin, if not the head's default (asoftmax: 4); 1: modified softmax"
    )
    term_weight: float | None = setting(
        None, "of the contrastive or the center term, if not the head's default"
    )
    scale: float | None = setting(None, "length of the embeddings, of heads that have one")
    embedding_norm: str | None = setting(
        None, "sphereface-r: hard, free or soft length", ("hard", "free", "soft")
    )
    gradient: str | None = setting(
        None, "of the margin, if not the head's default", ("exact", "caffe", "detached")
    )
    kernel_norm: str | None = setting(
        None, "projected: class weights kept at unit length", ("through", "projected")
    )
    chunk_size: int | None = setting(
        None, "classes at once, to save memory; by default all up to 262,144 classes"
    )
    sample_rate: float = setting(1.0, "share of the classes seen at a step (Partial FC)")
    warm_start: int = setting(0, "first steps with m = 1, before the annealing begins")
    base: float = setting(1000.0, "annealing: lambda before the first step")
    gamma: float = setting(0.12, "annealing: lambda = base (1 + gamma step)^-power")
    power: float = setting(1.0, "annealing: see gamma")
    lambda_min: float = setting(5.0, "annealing: lambda never falls below this")
    split_classes: bool = setting(
        False, "each device holds the weights of its share of the classes only"
    )
    batch_size: int = setting(256, "global: split over the devices of all workers")
    images_per_person: int | None = setting(
        None,
        "batches of so many pictures of each of batch-size / this people, from all that there are, "
        "in memory; 0: shuffled pictures; by default as the head needs it",
    )
    accumulate_steps: int = setting(
        1, "work on a batch in this many parts, one after another, to save memory"
    )
    total_steps: int = setting(28_000, "optimiser steps")
    epochs: float = setting(0.0, "passes over the data instead of total-steps, if above 0")
    optimizer: str = setting("sgd", "the authors' is sgd", ("sgd", "adam"))
    learning_rate: float = setting(0.1, "the highest")
    schedule: str = setting(
        "steps",
        "steps: the authors', times 0.1 at 4/7 and at 6/7 of the steps",
        ("steps", "cosine", "constant"),
    )
    warmup_steps: int = setting(0, "first steps in which the rate rises linearly")
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
    saturation: float = setting(0.0, "augmentation: colours times 1 +- this")
    low_resolution: float = setting(0.0, "augmentation: share of coarse pictures, up to 4 times")
    log_steps: int = setting(100, "steps between two rows of the log")
    checkpoint_steps: int = setting(1000, "steps between two checkpoints")
    verify_steps: int = setting(0, "steps between two verifications of pairs; 0: none")
    verify_images: str = setting("", "for these, as in tools/evaluate.py: folder of pictures")
    verify_pairs: str = setting("", "list of pairs")
    verify_landmarks: str = setting("", "five points a picture")
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


PROTOCOLS = ("sphereface", "insightface", "plain")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Verify pairs of faces with exported networks, or with embeddings that are there already.

    Each network is tried on each set of pairs. Of several sets `--images`, `--landmarks`,
    `--records` and `--templates` have one value for all, or one for each of `--pairs`.
    """

    out: str = setting(help="folder for metrics.json, pairs.csv, the pictures and report.html")
    model: tuple[str, ...] = setting((), "SavedModel folders, .tflite or .onnx files")
    embeddings: tuple[str, ...] = setting(
        (), "embeddings by key (.npz) of any other system, beside models or instead of them"
    )
    pairs: tuple[str, ...] = setting((), "LFW's pairs.txt, or lines `first second 0|1 [fold]`")
    images: tuple[str, ...] = setting((), "folder that holds the pictures of the pairs")
    landmarks: tuple[str, ...] = setting((), "five points a picture; with it every face is aligned")
    records: tuple[str, ...] = setting((), "folder of records with those pictures, not images")
    templates: tuple[str, ...] = setting((), "lines `path template [medium]`: pairs of templates")
    bin: tuple[str, ...] = setting((), "verification sets (.bin), which need nothing of the above")
    folds: tuple[int, ...] = setting((), "only these folds, counted from 1")
    num_folds: int = setting(10, "parts into which sets are cut that have no folds, as .bin")
    protocol: str = setting("sphereface", "of the numbers; the others are told too", PROTOCOLS)
    train_labels: str = setting("", "labels.csv of the training records: is anyone in both?")
    bootstrap: int = setting(1000, "draws for the 95 per cent intervals; 0: none")
    save_embeddings: bool = setting(False, "write embeddings.npz too")
    batch_size: int = setting(64, "pictures embedded at once")
    seed: int = setting(0, "of the bootstrap, and of the sample of pictures that is looked at")


FORMATS = ("tflite", "tflite-float16", "tflite-int8", "onnx")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Write a network as TFLite and ONNX, and compare each file with it on faces."""

    model: str = setting(help="SavedModel folder, or .keras file of a network (with its head)")
    out: str = setting(help="folder for the files, export.csv and export.md")
    formats: tuple[str, ...] = setting(FORMATS, "which files", FORMATS)
    images: str = setting("", "class folders of faces, to calibrate int8 with and to compare on")
    landmarks: str = setting("", "five points a picture; with it every face is aligned")
    pairs: str = setting("", "list of pairs: the files are verified too, on people kept apart")
    folds: tuple[int, ...] = setting((), "only these folds of the pairs, counted from 1")
    num_calibration: int = setting(200, "pictures for int8")
    num_compared: int = setting(256, "pictures for the differences")
    batch_size: int = setting(64, "pictures embedded at once")
    seed: int = setting(0, "of which pictures are taken")


@dataclasses.dataclass(frozen=True)
class _SearchConfig:
    """What all searches for people share."""

    out: str = setting(help="folder for metrics.json, probes.csv, the pictures and report.html")
    model: tuple[str, ...] = setting((), "SavedModel folders, .tflite or .onnx files")
    embeddings: tuple[str, ...] = setting(
        (), "embeddings by key (.npz) of any other system, beside models or instead of them"
    )
    images: str = setting("", "folder of class folders: who is on a picture is its folder's name")
    landmarks: str = setting("", "five points a picture; with it every face is aligned")
    records: str = setting("", "folder of records, instead of images")
    pairs: str = setting("", "only the people in this list of pairs, in the form of LFW's")
    folds: tuple[int, ...] = setting((), "of these pairs only those folds, counted from 1")
    train_labels: str = setting("", "labels.csv of the training records: leave those people out")
    batch_size: int = setting(64, "pictures embedded at once")
    seed: int = setting(0, "of who is in the gallery, and of what is looked at")


@dataclasses.dataclass(frozen=True)
class ClosedSetConfig(_SearchConfig):
    """Closed-set identification: who of the gallery is this? Everyone who is looked up is there.

    Without lists, of everyone with several pictures some are the gallery, the others are looked up.
    """

    gallery: str = setting("", "lines `path<TAB or space>identity` of known people")
    probes: str = setting("", "such lines of pictures that are looked up")
    templates: str = setting("", "lines `path template [medium]`: galleries of templates")
    gallery_images: int = setting(1, "of each person in the gallery, without lists")
    max_rank: int = setting(20, "the last rank of the curve")


@dataclasses.dataclass(frozen=True)
class OpenSetConfig(_SearchConfig):
    """Open-set identification: is this someone of the gallery, and who? Some are strangers.

    Without lists a share of the people are strangers; of the others some pictures are the gallery,
    and the other pictures are looked up.
    """

    gallery: str = setting("", "lines `path<TAB or space>identity` of known people")
    probes: str = setting("", "such lines of pictures that are looked up, strangers among them")
    templates: str = setting("", "lines `path template [medium]`: galleries of templates")
    gallery_images: int = setting(1, "of each person in the gallery, without lists")
    strangers: float = setting(0.5, "the share of people who are not in it, without lists")
    candidates: int = setting(20, "length of the list in which TPIR asks for the right person")


@dataclasses.dataclass(frozen=True)
class DistractorsConfig(_SearchConfig):
    """Identification among up to a million strangers, in the manner of MegaFace.

    Of each two pictures of a person one is put among the distractors; the other looks for it.
    """

    distractors: str = setting(
        "",
        "strangers: class folders, a folder of records, or an .npz file of embeddings; of these "
        "everyone who is looked for is left out",
    )
    distractor_landmarks: str = setting("", "five points for each picture of distractors")
    max_rank: int = setting(10, "the last rank of the curve")


@dataclasses.dataclass(frozen=True)
class SpheresConfig:
    """Train 2-D or 3-D embeddings with softmax and several m, and draw them side by side."""

    out: str = setting(help="folder for the pictures (.png, .svg), spheres.csv and spheres.md")
    data: str = setting("", "folder of records; empty: generated faces")
    m: tuple[int, ...] = setting((1, 2, 3, 4), "the margins")
    softmax: bool = setting(True, "a column of plain softmax too")
    dim: int = setting(0, "2 or 3; 0: both", (0, 2, 3))
    people: int = setting(8, "the people with most pictures are used")
    total_steps: int = setting(300, "optimiser steps for each loss")
    seed: int = setting(0, "of faces, of the first run's start weights, batches and test pictures")
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

    Network, data, number of steps and pictures a step, optimiser and augmentation are the same
    for all. They are those of a short run of a small network; after a lone `--` any flag of
    examples/train_casia.py changes them for all, for example `-- --total-steps 1000`.
    """

    out: str = setting(help="folder for losses.csv, losses.md, the picture, and each run")
    data: str = setting("", "folder of records; empty: generated faces, and pairs of them")
    images: str = setting("", "with data: folder of the pictures to verify, as tools/evaluate.py")
    pairs: str = setting("", "list of their pairs, of people who are not in data")
    landmarks: str = setting("", "five points a picture")
    bin: str = setting("", "verification set (.bin), instead of those three")
    folds: tuple[int, ...] = setting((), "only these folds of the pairs, counted from 1")
    losses: tuple[str, ...] = setting(LOSSES, "which losses", LOSSES)
    num_seeds: int = setting(3, "runs of each loss, with seed, seed + 1, ...")
    seed: int = setting(0, "of faces, start weights, batches and the order of the runs")
    training: tuple[str, ...] = setting((), "flags of training, after a lone --", rest=True)


@dataclasses.dataclass(frozen=True)
class HeadBenchmarkConfig:
    """Time and memory of a training step of every head, beside a plain Dense layer."""

    out: str = setting(help="folder for head.csv, head.md, head.png and the XLA programs")
    batch_size: int = setting(256, "B")
    embedding_size: int = setting(512, "D")
    num_classes: int = setting(10_572, "C of the table")
    sweep: tuple[int, ...] = setting(
        (1_000, 10_572, 100_000, 262_144, 1_000_000), "values of C of the picture"
    )
    cases: tuple[str, ...] = setting((), "only these rows of the table, beside Dense; empty: all")
    repeats: int = setting(30, "rounds of the table; one of the picture has a tenth, at least 3")
    seed: int = setting(0, "of embeddings, labels and class weights")


@dataclasses.dataclass(frozen=True)
class ConvergenceBenchmarkConfig:
    """Does A-Softmax converge? Runs on generated faces, each beside its m = 1."""

    out: str = setting(help="folder for convergence.csv and convergence.md")
    networks: int = setting(5, "how many of the five pairs of network and faces")
    m: tuple[int, ...] = setting((2, 3, 4, 6), "the margins")
    total_steps: int = setting(1_700, "optimiser steps of a run; lambda is 5 from 1,659 on")
    width: float = setting(0.125, "factor on the channels of the networks")
    batch_size: int = setting(32, "pictures a step")
    workers: int = setting(1, "runs at the same time")
    seed: int = setting(0, "of faces and of the first run")


@dataclasses.dataclass(frozen=True)
class DataBenchmarkConfig:
    """Speed and memory of conversions and of the pipeline, beside what none can do without."""

    out: str = setting(help="folder for data.csv and data.md, and for the pictures")
    source: str = setting("", "class folders to measure with; empty: generated faces")
    landmarks: str = setting("", "five points for each picture of source")
    num_images: int = setting(16_000, "pictures; those of the source again if it has less")
    side: int = setting(250, "pictures are widened to this, which CASIA's and LFW's have; 0: not")
    memory_images: int = setting(200_000, "small pictures for the memory of a conversion; 0: none")
    repeats: int = setting(5, "rounds in which all cases take turns")
    seed: int = setting(0, "of generated faces and of the orders")


@dataclasses.dataclass(frozen=True)
class TrainBenchmarkConfig:
    """Speed of whole training steps, on one device and several, beside network and Dense alone."""

    out: str = setting(help="folder for train.csv and train.md, and for the runs")
    data: str = setting("", "folder of records; empty: two generated faces of each class")
    num_classes: int = setting(10_572, "C, if the faces are generated")
    backbone: str = setting("sphereface20", "sphereface4, 10, 20, 36 or 64")
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
    landmarks: str = setting("", "five points for each picture of images")
    backbone: str = setting("sphereface20", "sphereface4, 10, 20, 36 or 64")
    width: float = setting(1.0, "factor on its channels")
    num_images: int = setting(256, "pictures embedded in a turn")
    batch_size: int = setting(64, "pictures embedded at once")
    num_pairs: int = setting(6000, "for the protocols, in ten folds")
    num_probes: int = setting(3500, "pictures that are searched for")
    num_distractors: int = setting(1_000_000, "strangers among whom; 0: no search")
    repeats: int = setting(7, "rounds in which embedding and network, or protocols, take turns")
    search_repeats: int = setting(3, "rounds in which search and products take turns")
    seed: int = setting(0, "of everything")


@dataclasses.dataclass(frozen=True)
class MarginFiguresConfig:
    """Draw the geometry of the loss: psi, boundaries, bounds of m, annealing, target logits."""

    out: str = setting(help="folder for the pictures (.png and .svg) and bounds.csv")
    m: int = setting(4, "the margin of the boundaries")
    angle: float = setting(60.0, "between the class weights of the boundaries, 30 to 170 degrees")
