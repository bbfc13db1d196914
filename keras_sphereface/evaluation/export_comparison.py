"""A network as TFLite and ONNX files, each compared with the network that it was made of."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sphereface.config.choices import FORMATS
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.export import ExportConfig
from keras_sphereface.data.pairs.pair_list import identities_of_pairs
from keras_sphereface.evaluation.carried_recognition import carry_recognition
from keras_sphereface.evaluation.evaluate import checked_dataset, evaluate
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.evaluation.faces import FaceSources, load_faces, open_faces
from keras_sphereface.evaluation.identification.identity_map import (
    exclude_identities,
    identities_of_folders,
    select_identities,
)
from keras_sphereface.export.backbone import load_backbone
from keras_sphereface.export.converters import write_format
from keras_sphereface.export.network_files import check_onnx_installed
from keras_sphereface.export.runtime import open_network
from keras_sphereface.export.saved_model import export_savedmodel
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.models.embedding_network import embed_pixels
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import log, progress_bar, stage

SAVEDMODEL = "savedmodel"
Embed = Callable[[np.ndarray], np.ndarray]  # uint8 (N, H, W, 3) -> float32 (N, D)


@dataclasses.dataclass(frozen=True)
class FormatComparison:
    """A file of a network, compared with the network itself.

    Attributes:
        format: "savedmodel", or a name of `config.choices.FORMATS`.
        file: Name of the file or folder.
        megabytes: Size, in 10^6 bytes.
        largest_difference: Largest absolute difference of a number of an embedding; None without
            images.
        smallest_cosine: Smallest cosine of two embeddings of an image; None without images.
        accuracy: Accuracy of the verification, 0 to 1; None without pairs.

    Example:
        >>> FormatComparison("tflite", "model.tflite", 3.2, 2e-6, 1.0).accuracy is None
        True
    """

    format: str
    file: str
    megabytes: float
    largest_difference: float | None = None
    smallest_cosine: float | None = None
    accuracy: float | None = None


def export_and_compare(config: ExportConfig) -> list[FormatComparison]:
    """Write a network in several formats, and compare each file with it on faces.

    Writes the files, and the comparison as `export.csv` and `export.md`, to `config.out`; and the
    network's recognition.json, if it has one, beside each file that gives the same scores.

    Args:
        config: Network, formats, and the faces to calibrate int8 with and to compare on.

    Returns:
        A row for the network itself, as a SavedModel, and one for each format.

    Raises:
        FileNotFoundError, ValueError: If the network or the faces cannot be used.
        ImportError: For ONNX without its extra.

    Example:
        >>> config = ExportConfig(
        ...     model="model", out="out", formats=("tflite",), images="faces/images")
        >>> [(row.file, round(row.smallest_cosine, 3)) for row in export_and_compare(config)]
        [('model', 1.0), ('model.tflite', 1.0)]
    """
    _check_settings(config)
    out = Path(config.out)
    columns = config.landmark_columns
    sources = FaceSources(config.images, config.landmarks, landmark_columns=columns)
    calibration_keys, compared_keys = _choose_images(config)
    with stage(f"opening {config.model}"):
        reference, folder = _open_reference(config, out)
        size = open_network(folder).image_size
    calibration = _load_images(sources, calibration_keys, size)
    if "tflite-int8" in config.formats and calibration is None:
        whose = " of identities that are not in `pairs`," if config.pairs else ""
        raise ValueError(
            f"`images` must hold faces{whose} to calibrate tflite-int8 with. "
            f"Received: images={config.images!r}"
        )
    files = {SAVEDMODEL: folder}
    for name in config.formats:
        log(f"writing {name}")
        with stage(f"writing {name}"):
            files[name] = write_format(folder, out, name, calibration)
    images = _load_images(sources, compared_keys, size)
    rows = [
        FormatComparison(name, file.name, _num_bytes(file) / 1e6) for name, file in files.items()
    ]
    if images is not None:
        rows = _compare(rows, files.values(), reference, images, config.batch_size)
    write_comparison(rows, out)
    others = {name: file for name, file in files.items() if file != Path(config.model)}
    carry_recognition(Path(config.model), others, reference, size, images)
    if config.pairs:
        accuracies = _verify(files.values(), out / "evaluation", config)
        rows = [
            dataclasses.replace(row, accuracy=accuracy)
            for row, accuracy in zip(rows, accuracies, strict=True)
        ]
        write_comparison(rows, out)
    return rows


def _check_settings(config: ExportConfig) -> None:
    if unknown := [name for name in config.formats if name not in FORMATS]:
        raise ValueError(f"`formats` must be of {', '.join(FORMATS)}. Received: {unknown}")
    for name in ("num_calibration", "num_compared", "batch_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` must be >= 1. Received: {name}={getattr(config, name)}")
    if (config.pairs or config.landmarks) and not config.images:
        raise ValueError(
            "`pairs` and `landmarks` need the images they name. Give `images`. "
            f"Received: images={config.images!r}"
        )
    if "onnx" in config.formats:
        check_onnx_installed(config.formats)
    if config.pairs:
        checked_dataset(
            PairSources(
                pairs=config.pairs,
                images=config.images,
                landmarks=config.landmarks,
                landmark_columns=config.landmark_columns,
                pair_columns=config.pair_columns,
            ),
            config.folds,
        )


def _choose_images(config: ExportConfig) -> tuple[list[str], list[str]]:
    """Return the keys of images to calibrate with and to compare on, of different identities.

    With pairs their identities are compared; without, half of all identities.
    """
    if not config.images:
        return [], []
    identity_map = identities_of_folders(config.images)
    rng = np.random.default_rng(config.seed)
    if config.pairs:
        compared = identities_of_pairs(config.pairs, config.folds, config.pair_columns)
    else:
        identities = _shuffled(set(identity_map.values()), rng)
        compared = set(identities[: len(identities) // 2])
    others = _shuffled(exclude_identities(identity_map, compared), rng)
    if compared:
        keys = _shuffled(select_identities(identity_map, compared), rng)
        return others[: config.num_calibration], keys[: config.num_compared]
    # A single identity serves both.
    count = min(config.num_calibration, len(others) // 2)
    return others[:count], others[count : count + config.num_compared]


def _shuffled(names: Iterable[str], rng: np.random.Generator) -> list[str]:
    ordered = sorted(names)
    return [ordered[i] for i in rng.permutation(len(ordered))]


def _open_reference(config: ExportConfig, out: Path) -> tuple[Embed, Path]:
    """Return the network to compare with, and the folder of its SavedModel."""
    path = Path(config.model)
    if path.is_dir():
        return open_network(path), path
    size = (config.height, config.width) if config.height and config.width else None
    backbone = load_backbone(path, size, config.input_range)
    folder = export_savedmodel(backbone, out / SAVEDMODEL)
    return lambda images: embed_pixels(backbone, images).numpy(), folder


def _load_images(
    sources: FaceSources, keys: Sequence[str], size: tuple[int, int]
) -> np.ndarray | None:
    """Return the faces that can be loaded, uint8 (N, H, W, 3); None without keys.

    Raises:
        ValueError: If there are keys and none can be loaded.
    """
    if not keys:
        return None
    missing: dict[str, str] = {}
    load = open_faces(sources, keys, size).load
    bar = progress_bar(keys, desc="reading faces", unit="image", brief=True)
    faces = [face for _, face in load_faces(bar, load, missing)]
    if not faces:
        raise ValueError(
            "At least one face must be readable. Check `images` and `landmarks`. "
            f"Received: {next(iter(missing.items()))}"
        )
    return np.stack(faces)


def _num_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _compare(
    rows: Sequence[FormatComparison],
    files: Iterable[Path],
    reference: Embed,
    images: np.ndarray,
    batch_size: int,
) -> list[FormatComparison]:
    expected = _embed_in_batches(reference, images, batch_size, "the network itself")
    compared = []
    for row, file in zip(rows, files, strict=True):
        embeddings = _embed_in_batches(open_network(file), images, batch_size, row.format)
        cosines = np.sum(normalize_rows(embeddings) * normalize_rows(expected), axis=1)
        compared.append(
            dataclasses.replace(
                row,
                largest_difference=float(np.abs(embeddings - expected).max()),
                smallest_cosine=float(cosines.min()),
            )
        )
    return compared


def _embed_in_batches(embed: Embed, images: np.ndarray, batch_size: int, name: str) -> np.ndarray:
    embeddings = []
    with progress_bar(total=len(images), desc=f"embedding by {name}", unit="image") as bar:
        for start in range(0, len(images), batch_size):
            embeddings.append(embed(images[start : start + batch_size]))
            bar.update(len(embeddings[-1]))
    return np.concatenate(embeddings)


def _verify(files: Iterable[Path], out: Path, config: ExportConfig) -> list[float]:
    """Return the accuracy of each file on the pairs; the evaluation is written to `out`."""
    results = evaluate(
        EvaluateConfig(
            out=str(out),
            model=tuple(map(str, files)),
            images=(config.images,),
            pairs=(config.pairs,),
            landmarks=(config.landmarks,) if config.landmarks else (),
            landmark_columns=config.landmark_columns,
            pair_columns=config.pair_columns,
            folds=config.folds,
            bootstrap=0,
            batch_size=config.batch_size,
            seed=config.seed,
        )
    )
    return [metrics.verification.accuracy_mean for metrics in results]


def comparison_table(rows: Sequence[FormatComparison]) -> str:
    """Return the comparison as a table in Markdown.

    Example:
        >>> print(comparison_table([FormatComparison("tflite", "model.tflite", 3.25, 2e-6, 1.0)]))
        | format | file | MB | largest difference | smallest cosine | accuracy, % |
        |---|---|---|---|---|---|
        | tflite | model.tflite | 3.2 | 2e-06 | 1.000000 |  |
    """
    lines = [
        "| format | file | MB | largest difference | smallest cosine | accuracy, % |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        accuracy = "" if row.accuracy is None else f"{100 * row.accuracy:.2f}"
        difference = "" if row.largest_difference is None else f"{row.largest_difference:.2g}"
        cosine = "" if row.smallest_cosine is None else f"{row.smallest_cosine:.6f}"
        lines.append(
            f"| {row.format} | {row.file} | {row.megabytes:.1f} | {difference} | {cosine} "
            f"| {accuracy} |"
        )
    return "\n".join(lines) + "\n"


def write_comparison(rows: Sequence[FormatComparison], out: Path) -> None:
    """Write the comparison as export.csv, empty where nothing was compared, and export.md."""
    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(out / "export.csv") as partial:
        pd.DataFrame(list(rows)).to_csv(partial, index=False)
    with atomic_file(out / "export.md") as partial:
        partial.write_text(comparison_table(rows), encoding="utf-8")
