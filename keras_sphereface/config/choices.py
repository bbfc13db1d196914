"""The choices of the command line, as plain data: neither Keras nor TensorFlow is imported.

Flags, help, tests and documentation are made from these tables. What a name stands for is
resolved where it is used, for example by `heads.make_head`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class HeadChoice:
    """A head that `--head` offers.

    Attributes:
        layer: Name of the class in `keras_sphereface.heads`.
        help: One sentence about the loss.
        settings: Settings that the head takes, with their defaults.
        fixed: Arguments of the class that the name of the head stands for.
        images_per_identity: Images of each identity in a balanced batch; 0: shuffled images.

    Example:

    >>> HEADS["arcface"].settings["m"], HEADS["triplet-hard"].images_per_identity
    (0.5, 4)
    """

    layer: str
    help: str
    settings: Mapping[str, Any]
    fixed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    images_per_identity: int = 0

    @property
    def has_class_weights(self) -> bool:
        """True if the head is a classifier; heads without classes compare images only."""
        return "block_size" in self.settings


_CLASSES = {"block_size": None, "sample_rate": 1.0}
_ANGULAR = {**_CLASSES, "kernel_norm": "through"}
_ANNEALING = {
    "base": 1000.0,
    "gamma": 0.12,
    "power": 1.0,
    "lambda_min": 5.0,
    "margin_warmup_steps": 0,
}
_ANNEALED = {**_ANGULAR, "m": 4, "gradient": "exact", **_ANNEALING}
_SPHEREFACE_R = {
    **_ANGULAR,
    "m": 1.5,
    "scale": 30.0,
    "gradient": "detached",
    "embedding_norm": "hard",
}
_IMAGES_PER_IDENTITY = 4  # of heads that compare the images of a batch

HEADS: dict[str, HeadChoice] = {
    "softmax": HeadChoice(
        "PlainSoftmax", "softmax of x.w + b, without a margin (the baseline)", _CLASSES
    ),
    "normface": HeadChoice(
        "NormFace", "softmax of s cos(theta), without a margin", {**_ANGULAR, "scale": 30.0}
    ),
    "asoftmax": HeadChoice(
        "ASoftmax", "SphereFace: |x| psi(theta) with margin m and annealing", _ANNEALED
    ),
    "sphereface+": HeadChoice(
        "SphereFacePlus", "asoftmax and an energy that spreads the class weights", _ANNEALED
    ),
    "sphereface-r-v1": HeadChoice(
        "SphereFaceR",
        "s cos(min(m theta, pi)) of the target class",
        _SPHEREFACE_R,
        {"version": "v1"},
    ),
    "sphereface-r-v2": HeadChoice(
        "SphereFaceR", "s cos(theta / m) of the negative classes", _SPHEREFACE_R, {"version": "v2"}
    ),
    "sphereface2": HeadChoice(
        "SphereFace2", "one binary classification for each class", {**_ANGULAR, "m": 0.4}
    ),
    "cosface": HeadChoice(
        "CosFace",
        "s (cos(theta) - m) of the target class",
        {**_ANGULAR, "m": 0.35, "scale": 64.0, "gradient": "exact"},
    ),
    "arcface": HeadChoice(
        "ArcFace",
        "s cos(theta + m) of the target class",
        {**_ANGULAR, "m": 0.5, "scale": 64.0, "gradient": "exact"},
    ),
    "subcenter-arcface": HeadChoice(
        "SubCenterArcFace",
        "arcface to the nearest of K class weights of a class",
        {**_ANGULAR, "m": 0.5, "scale": 64.0, "gradient": "exact", "num_centers": 3},
    ),
    "curricularface": HeadChoice(
        "CurricularFace",
        "arcface with hard negatives that come in later",
        {**_ANGULAR, "m": 0.5, "scale": 64.0},
    ),
    "elasticface-arc": HeadChoice(
        "ElasticFace",
        "arcface with a margin drawn for each image",
        {**_ANGULAR, "m": 0.5, "scale": 64.0, "gradient": "exact", "margin_std": 0.05},
        {"kind": "arc"},
    ),
    "elasticface-cos": HeadChoice(
        "ElasticFace",
        "cosface with a margin drawn for each image",
        {**_ANGULAR, "m": 0.35, "scale": 64.0, "gradient": "exact", "margin_std": 0.05},
        {"kind": "cos"},
    ),
    "magface": HeadChoice(
        "MagFace",
        "arcface with a margin that grows with |x|",
        {
            **_ANGULAR,
            "m": 0.45,
            "m_max": 0.8,
            "norm_min": 10.0,
            "norm_max": 110.0,
            "scale": 64.0,
            "term_weight": 35.0,
        },
    ),
    "adaface": HeadChoice(
        "AdaFace",
        "a margin by the quality of the image, told by |x|",
        {**_ANGULAR, "m": 0.4, "scale": 64.0, "gradient": "exact"},
    ),
    "circle": HeadChoice(
        "Circle",
        "the Circle loss over class weights",
        {**_ANGULAR, "m": 0.25, "scale": 256.0},
    ),
    "uniface": HeadChoice(
        "UniFace",
        "one learned threshold for all target cosines",
        {**_ANGULAR, "m": 0.4, "scale": 64.0},
    ),
    "adacos": HeadChoice("AdaCos", "softmax of s cos(theta), s computed at each step", _ANGULAR),
    "softmax+contrastive": HeadChoice(
        "SoftmaxContrastive",
        "softmax and a contrastive loss over pairs of the batch",
        {**_CLASSES, "m": 1.0, "term_weight": 1.0},
        images_per_identity=_IMAGES_PER_IDENTITY,
    ),
    "softmax+center": HeadChoice(
        "SoftmaxCenter",
        "softmax and the distance to the center of the class",
        {**_CLASSES, "term_weight": 0.003},
    ),
    "triplet": HeadChoice(
        "Triplet",
        "semi-hard triplets of the batch, without classes",
        {"m": 0.2},
        images_per_identity=_IMAGES_PER_IDENTITY,
    ),
    "triplet-hard": HeadChoice(
        "Triplet",
        "the hardest triplets of the batch, without classes",
        {"m": 0.2},
        {"mining": "hard"},
        images_per_identity=_IMAGES_PER_IDENTITY,
    ),
}

# Heads that `--semi-siamese` trains with a queue of prototypes in place of class weights: a softmax
# over one normalized weight for each class.
PROTOTYPE_HEADS: tuple[str, ...] = (
    *("normface", "asoftmax", "sphereface-r-v1", "sphereface-r-v2", "cosface", "arcface"),
    *("curricularface", "elasticface-arc", "elasticface-cos", "magface", "adaface", "circle"),
)
QUEUE_SIZE = 16_384  # prototypes by default, as in the paper


def default_words(setting: str) -> str:
    """Return the default of a setting for each head that takes it.

    Example:

    >>> default_words("term_weight")
    'softmax+contrastive 1.0, softmax+center 0.003'
    """
    return ", ".join(
        f"{name} {head.settings[setting]}"
        for name, head in HEADS.items()
        if setting in head.settings
    )


@dataclasses.dataclass(frozen=True)
class NetworkChoice:
    """A network that `--backbone` offers.

    Attributes:
        depth: Number of 3 x 3 convolutions.
        blocks_per_stage: Residual blocks of each of the four stages.

    Example:

    >>> NETWORKS["sphereface20"].blocks_per_stage
    (1, 2, 4, 1)
    """

    depth: int
    blocks_per_stage: tuple[int, int, int, int]


# Networks of `keras.applications` that every supported Keras has, for `--backbone keras:NAME`.
KERAS_NETWORKS: tuple[str, ...] = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{i}" for i in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "L", "M", "S")),
    *("InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *("ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2"),
    *("VGG16", "VGG19", "Xception"),
)
KERAS_PREFIX = "keras:"
# Of networks that a run took from the file that it started from; see training.starting_point.
START_PREFIX = "start:"

# How the biases of a network are trained.
BIAS_RULES: dict[str, str] = {
    "caffe": "twice the learning rate with sgd and no weight decay, as in the network files of "
    "Liu et al.",
    "plain": "as all other weights",
}

# Ranges of the pixels that a network takes.
INPUT_RANGES: dict[str, str] = {
    "raw": "pixels 0..255, which the network scales by itself",
    "unit": "(value - 127.5) / 128, in [-1, 1)",
}
# How a flag for them ends its help.
INPUT_RANGES_HELP = (
    "; ".join(f"{name}: {text}" for name, text in INPUT_RANGES.items())
    + ". By default found out from its first layer."
)

# How the flags end their help that name columns.
LANDMARK_COLUMNS_HELP = (
    "by name: path, x1, y1, ..., x5, y5, and - for others; by default found by header or by what "
    "fits a face."
)
LIST_COLUMNS_HELP = "by name: path, label, and - for others; by default recognized."
PAIR_COLUMNS_HELP = (
    "by name: first, second, is_same, maybe fold, and - for others; by default recognized."
)
# Channels of the images that imported weights were trained on.
COLOR_ORDERS: dict[str, str] = {
    "bgr": "as OpenCV decodes images: the reference implementation and its PyTorch port",
    "rgb": "as most others",
}

# Table 2 of the SphereFace paper.
NETWORKS: dict[str, NetworkChoice] = {
    f"sphereface{depth}": NetworkChoice(depth, blocks)
    for depth, blocks in {
        4: (0, 0, 0, 0),
        10: (0, 1, 2, 0),
        20: (1, 2, 4, 1),
        36: (2, 4, 8, 2),
        64: (3, 8, 16, 3),
    }.items()
}


@dataclasses.dataclass(frozen=True)
class ProtocolChoice:
    """A verification protocol that `--protocol` offers.

    Attributes:
        unit: Unit of its scores and thresholds; a higher score is more similar.
        description: Feature, score and choice of the threshold in one line, as reports print it.

    Example:

    >>> PROTOCOLS["insightface"].unit
    'minus squared distance'
    """

    unit: str
    description: str


MAX_CROPS = 7  # of a face, that `export.crops` embeds and averages

# Linear maps of embeddings, fitted by `metrics.projection`.
PROJECTIONS: dict[str, str] = {
    "lda": "linear discriminant analysis",
    "wccn": "within-class covariance normalization",
    "pca": "whitening of the total covariance",
    "plda": "the linear map of probabilistic LDA with two covariances",
}

PROTOCOLS: dict[str, ProtocolChoice] = {
    "sphereface": ProtocolChoice(
        "cosine",
        "embeddings of image and mirror image joined, mean of the other folds subtracted, cosine; "
        "threshold: mean of those of -1, -0.9999, ..., 1 that are best on the other folds",
    ),
    "insightface": ProtocolChoice(
        "minus squared distance",
        "embeddings of image and mirror image added, unit length, squared distance; threshold: "
        "the first of 0, 0.01, ..., 3.99 that is best on the other folds",
    ),
    "plain": ProtocolChoice(
        "cosine",
        "embedding of the image alone, cosine; threshold: the highest score that is best on the "
        "other folds",
    ),
}


@dataclasses.dataclass(frozen=True)
class FormatChoice:
    """A file format that `--formats` of the export offers.

    Attributes:
        file: Name of the file that is written.
        help: One sentence about its numbers and its runtime.

    Example:

    >>> FORMATS["tflite-int8"].file
    'model-int8.tflite'
    """

    file: str
    help: str


FORMATS: dict[str, FormatChoice] = {
    "tflite": FormatChoice("model.tflite", "TensorFlow Lite, float32"),
    "tflite-float16": FormatChoice(
        "model-float16.tflite", "TensorFlow Lite, float16 weights: half the size"
    ),
    "tflite-int8": FormatChoice(
        "model-int8.tflite", "TensorFlow Lite, 8-bit weights and activations; needs `--images`"
    ),
    "onnx": FormatChoice("model.onnx", "ONNX, float32; needs the extra `onnx`"),
}


# Sources of faces that `--source` takes, recognized by `data.readers.open_source`.
SOURCE_KINDS: dict[str, str] = {
    "class folders": "a folder of class folders (SOURCE/IDENTITY/IMAGE)",
    "list file": "a text file with a line for each image: path and identity, MXNet's .lst, csv, "
    "or JSON lines",
    "base64 table": "a .tsv file of MS-Celeb-1M, with images as base64",
    "zip archive": "a zip archive of class folders",
    "tar archive": "a tar archive of class folders, compressed or not",
    "RecordIO": "a .rec file of MXNet and InsightFace",
    "parquet": "a .parquet file with a column of images and one of identities",
}

# Learning-rate schedules that `--schedule` offers, T being the steps of the run.
SCHEDULES: dict[str, str] = {
    "steps": "times 0.1 from 4/7 T and times 0.01 from 6/7 T on, as in the paper",
    "cosine": "falls to 0 along half a cosine",
    "constant": "stays",
}

# Optimizers that `--optimizer` offers, with the variables that each keeps for a weight.
OPTIMIZER_SLOTS: dict[str, int] = {"sgd": 1, "adam": 2}
