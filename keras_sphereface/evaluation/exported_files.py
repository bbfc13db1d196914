"""A network as TFLite and ONNX, each compared with the network that it was made of."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from keras_sphereface.config import FORMATS, EvaluateConfig, ExportConfig
from keras_sphereface.evaluation.evaluate import checked_dataset, evaluate
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.evaluation.faces import load_faces, open_faces
from keras_sphereface.evaluation.identification import galleries
from keras_sphereface.export import converters, runtime, saved_model
from keras_sphereface.heads.base import Head
from keras_sphereface.layers.face_preprocessing import FacePreprocessing
from keras_sphereface.metrics.vectors import normalize_rows
from keras_sphereface.utils.atomic import atomic_file
from keras_sphereface.utils.progress import log

SAVEDMODEL = "savedmodel"
ONNX_MODULES = ("tf2onnx", "onnx", "onnxruntime")
COLUMNS = ("format", "file", "megabytes", "largest_difference", "smallest_cosine", "accuracy")


def export_all(config: ExportConfig) -> pd.DataFrame:
    """Write the files, and OUT/export.csv and OUT/export.md that compare them.

    Returns:
        A row for the network itself and each file, with `COLUMNS`: the largest absolute difference
        of an embedding's numbers from the network's, the smallest cosine with it, and the
        accuracy of the verification; nan where no faces or pairs are given.

    Raises:
        FileNotFoundError, ValueError: if the network or the faces cannot be used.
        ImportError: for ONNX without its extra.
    """
    _check(config)
    out = Path(config.out)
    calibration, compared = _images(config)
    reference, folder = _reference(config.model, out)
    network = runtime.open_network(folder)
    of_calibration = _faces(config, calibration, network.image_size)
    if "tflite-int8" in config.formats and of_calibration is None:
        who = " of people who are not in `pairs`," if config.pairs else ""
        raise ValueError(
            f"`images` must hold faces{who} to calibrate tflite-int8 with. "
            f"Received: images={config.images!r}"
        )
    files = {SAVEDMODEL: folder}
    out.mkdir(parents=True, exist_ok=True)
    for name in config.formats:
        log(f"writing {name}")
        files[name] = _write(name, folder, out, of_calibration)
    table = pd.DataFrame({"format": list(files), "file": [file.name for file in files.values()]})
    table["megabytes"] = [_num_bytes(file) / 1e6 for file in files.values()]
    pictures = _faces(config, compared, network.image_size)
    expected = None if pictures is None else _in_batches(reference, pictures, config.batch_size)
    differences = [_differences(file, pictures, expected, config) for file in files.values()]
    table[["largest_difference", "smallest_cosine"]] = differences
    table["accuracy"] = np.nan
    _write_tables(table[list(COLUMNS)], out, config)
    if config.pairs:
        table["accuracy"] = _accuracies(list(files.values()), out, config)
        _write_tables(table[list(COLUMNS)], out, config)
    return table[list(COLUMNS)]


def _check(config):
    if unknown := [name for name in config.formats if name not in FORMATS]:
        raise ValueError(f"`formats` must be of {', '.join(FORMATS)}. Received: {unknown}")
    for name in ("num_calibration", "num_compared", "batch_size"):
        if getattr(config, name) < 1:
            raise ValueError(f"`{name}` must be >= 1. Received: {name}={getattr(config, name)}")
    if (config.pairs or config.landmarks) and not config.images:
        raise ValueError(
            "`pairs` and `landmarks` are those of images in `images`. "
            f"Received: images={config.images!r}"
        )
    if "onnx" in config.formats and not all(map(importlib.util.find_spec, ONNX_MODULES)):
        raise ImportError(
            "The format onnx needs pip install keras-sphereface[onnx]. "
            f"Received: formats={config.formats}"
        )
    if config.pairs:
        checked_dataset(_paths(config), config.folds)


def _paths(config):
    return PairSources(
        pairs=config.pairs, images=config.images, landmarks=config.landmarks
    )


def _reference(path, out):
    """What gives the embeddings to compare with, and the folder of the SavedModel."""
    if Path(path).is_dir():
        return runtime.open_network(path), Path(path)
    if not (Path(path).is_file() and path.endswith(".keras")):
        error = ValueError if Path(path).exists() else FileNotFoundError
        raise error(f"`model` must be a SavedModel folder or a .keras file. Received: {path}")
    backbone = without_head(_load(path))
    folder = saved_model.export_savedmodel(backbone, out / SAVEDMODEL)
    return lambda pictures: saved_model.embed_one_view(backbone, pictures).numpy(), folder


def _load(path):
    try:
        return keras.models.load_model(path, compile=False)
    # A damaged file, or one of another Keras, raises almost anything.
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded. Received: {error}") from error


def without_head(model: keras.Model) -> keras.Model:
    """The network in front of the head, or `model` itself if it has none.

    Raises:
        ValueError: if its input is not one batch of float images, it gives no vectors, or it
            scales the images itself.
    """
    # A model that is no graph of layers, as a subclass may be, has neither in some Keras.
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    heads = [layer for layer in model.layers if isinstance(layer, Head)]
    if heads and inputs:
        model = keras.Model(inputs, heads[0].input)
        outputs = model.outputs
    takes_images = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].shape[-1] == 3
    # Keras 3 gives names, Keras 2 types of TensorFlow.
    types = [getattr(tensor.dtype, "name", tensor.dtype) for tensor in inputs]
    if not (
        takes_images and "float" in types[0] and len(outputs) == 1 and len(outputs[0].shape) == 2
    ):
        raise ValueError(
            "The network must take float images (N, H, W, 3) and give embeddings (N, D). "
            f"Received: {[tuple(t.shape) for t in inputs]} of {types} -> "
            f"{[tuple(t.shape) for t in outputs]}"
        )
    if any(isinstance(layer, FacePreprocessing) for layer in model.layers):
        raise ValueError(
            "The network must come without `FacePreprocessing`: an exported one scales by itself. "
            f"Received: {[layer.name for layer in model.layers]}"
        )
    return model


def _images(config):
    """The keys of images to calibrate with and to compare on; of people apart, if possible."""
    if not config.images:
        return [], []
    roll = galleries.roll_of_folders(config.images)
    order = np.random.default_rng(config.seed)
    if config.pairs:
        apart = galleries.people_of_pairs(config.pairs, config.folds)
    else:
        people = _drawn(sorted(set(roll.values())), order)
        apart = set(people[: len(people) // 2])
    others = _drawn(sorted(galleries.without(roll, apart)), order)
    if apart:
        kept = _drawn(sorted(galleries.only(roll, apart)), order)
        return others[: config.num_calibration], kept[: config.num_compared]
    count = min(config.num_calibration, len(others) // 2)
    return others[:count], others[count : count + config.num_compared]


def _drawn(keys, rng):
    return [keys[i] for i in rng.permutation(len(keys))]


def _faces(config, keys, size):
    """uint8 (N, H, W, 3) of those that are to be had; None if no image is asked for.

    Raises:
        ValueError: if none is to be had.
    """
    if not keys:
        return None
    missing: dict[str, str] = {}
    load = open_faces(_paths(config).faces, keys, size).load
    found = [face for _, face in load_faces(keys, load, missing)]
    if not found:
        raise ValueError(f"No face is to be had. Received: {next(iter(missing.items()))}")
    return np.stack(found)


def _write(name, folder, out, calibration):
    path = out / FORMATS[name].file
    if name == "onnx":
        return converters.to_onnx(folder, path)
    kind = name.removeprefix("tflite-") if "-" in name else "float32"
    return converters.to_tflite(folder, path, kind, calibration if kind == "int8" else None)


def _num_bytes(path):
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _in_batches(network, pictures, batch_size):
    starts = range(0, len(pictures), batch_size)
    return np.concatenate([network(pictures[start : start + batch_size]) for start in starts])


def _differences(file, pictures, expected, config):
    """The largest absolute difference, and the smallest cosine."""
    if pictures is None:
        return np.nan, np.nan
    found = _in_batches(runtime.open_network(file), pictures, config.batch_size)
    cosines = np.sum(normalize_rows(found) * normalize_rows(expected), axis=1)
    return float(np.abs(found - expected).max()), float(cosines.min())


def _accuracies(files, out, config):
    results = evaluate(
        EvaluateConfig(
            out=str(out / "evaluation"),
            model=tuple(map(str, files)),
            images=(config.images,),
            pairs=(config.pairs,),
            landmarks=(config.landmarks,) if config.landmarks else (),
            folds=config.folds,
            bootstrap=0,
            batch_size=config.batch_size,
            seed=config.seed,
        )
    )
    return [metrics["accuracy_mean"] for metrics in results]


def describe(table: pd.DataFrame, config: ExportConfig) -> str:
    """The comparison as Markdown."""
    lines = [
        "| format | file | MB | largest difference | smallest cosine | accuracy, % |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        accuracy = "" if np.isnan(row.accuracy) else f"{100 * row.accuracy:.2f}"
        difference = "" if np.isnan(row.largest_difference) else f"{row.largest_difference:.2g}"
        cosine = "" if np.isnan(row.smallest_cosine) else f"{row.smallest_cosine:.6f}"
        lines.append(
            f"| {row.format} | {row.file} | {row.megabytes:.1f} | {difference} | {cosine} "
            f"| {accuracy} |"
        )
    return "\n".join(lines) + "\n"


def _write_tables(table, out, config):
    with atomic_file(out / "export.csv") as partial:
        table.to_csv(partial, index=False)
    with atomic_file(out / "export.md") as partial:
        partial.write_text(describe(table, config), encoding="utf-8")
