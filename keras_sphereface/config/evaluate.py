"""Settings of the verification of pairs."""

import dataclasses

from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.config.fields import setting


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Verify pairs of faces with exported networks, or with embeddings that are there already.

    Each network is tried on each set of pairs. Of several sets `--images`, `--landmarks`,
    `--records` and `--templates` have one value for all, or one for each of `--pairs`.
    """

    out: str = setting(help="folder for metrics.json, pairs.csv, the images and report.html")
    model: tuple[str, ...] = setting((), "SavedModel folders, .tflite or .onnx files")
    embeddings: tuple[str, ...] = setting(
        (), "embeddings by key (.npz) of any other system, beside models or instead of them"
    )
    pairs: tuple[str, ...] = setting((), "LFW's pairs.txt, or lines `first second 0|1 [fold]`")
    images: tuple[str, ...] = setting((), "folder that holds the images of the pairs")
    landmarks: tuple[str, ...] = setting((), "five points an image; with it every face is aligned")
    records: tuple[str, ...] = setting((), "folder of records with those images, not images")
    templates: tuple[str, ...] = setting((), "lines `path template [medium]`: pairs of templates")
    bin: tuple[str, ...] = setting((), "verification sets (.bin), which need nothing of the above")
    folds: tuple[int, ...] = setting((), "only these folds, counted from 1")
    num_folds: int = setting(10, "parts into which sets are cut that have no folds, as .bin")
    protocol: str = setting(
        "sphereface",
        "verification protocol; the accuracy by the others is reported too; "
        + "; ".join(f"{name}: {choice.description}" for name, choice in PROTOCOLS.items()),
        tuple(PROTOCOLS),
    )
    train_labels: str = setting("", "labels.csv of the training records: is anyone in both?")
    bootstrap: int = setting(1000, "draws for the 95 per cent intervals; 0: none")
    save_embeddings: bool = setting(False, "write embeddings.npz too")
    batch_size: int = setting(64, "images embedded at once")
    seed: int = setting(0, "of the bootstrap, and of the sample of images that is looked at")
