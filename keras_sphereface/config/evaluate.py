"""Settings of the verification of pairs."""

import dataclasses

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Verify pairs of faces with exported networks, or with saved embeddings.

    Each model is evaluated on each set of pairs. For several sets `--images`, `--landmarks`,
    `--records` and `--templates` take one value for all, or one for each of `--pairs`.

    Example:

    >>> config = EvaluateConfig(
    ...     out="evaluation", model=("export",), images=("lfw/images",), pairs=("lfw/pairs.txt",))
    >>> config.protocol, config.num_folds
    ('sphereface', 10)
    """

    out: str = setting(help="output folder for metrics.json, pairs.csv, the images and report.html")
    model: tuple[str, ...] = setting((), "models: SavedModel folders, .tflite or .onnx files")
    embeddings: tuple[str, ...] = setting(
        (), "saved embeddings by key (.npz) of any system, beside models or instead of them"
    )
    pairs: tuple[str, ...] = setting(
        (), "lists of pairs: LFW's pairs.txt, or lines `first second 0|1 [fold]`"
    )
    images: tuple[str, ...] = setting((), "folder of the images of the pairs")
    landmarks: tuple[str, ...] = setting(
        (), "five points for each image; with it every face is aligned, without it cropped"
    )
    records: tuple[str, ...] = setting((), "folder of records of these images, instead of --images")
    templates: tuple[str, ...] = setting(
        (), "lines `path template [medium]`; the pairs are pairs of templates"
    )
    bin: tuple[str, ...] = setting(
        (), "verification sets in InsightFace's form (.bin), which hold pairs and images"
    )
    folds: tuple[int, ...] = setting((), "numbers of the folds to evaluate, from 1; default: all")
    num_folds: int = setting(10, "number of folds, >= 2, of pairs that name none, as in a .bin")
    protocol: str = setting(
        "sphereface",
        "verification protocol; the accuracy by the others is reported too; "
        + "; ".join(f"{name}: {choice.description}" for name, choice in PROTOCOLS.items()),
        tuple(PROTOCOLS),
    )
    train_labels: str = setting(
        "", "labels.csv of the training records; identity overlap with the pairs is reported"
    )
    bootstrap: int = setting(
        1000, "bootstrap draws, >= 0, for the 95 per cent intervals; 0 computes none"
    )
    save_embeddings: bool = setting(False, "write the embeddings to OUT/embeddings.npz")
    batch_size: int = setting(64, "images embedded at once, >= 1")
    seed: int = setting(0, "seed of the bootstrap and of the sample of images that is checked")
