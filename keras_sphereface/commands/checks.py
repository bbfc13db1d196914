"""Checks of a command's files and settings before Keras and TensorFlow are imported.

What is found here is answered within a second. Each function raises what the command itself would
raise later, with the same words: the checks are those of `data` and `export`, called early.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_sphereface.commands.recognition_checks import check_detector, check_landmarks
from keras_sphereface.config import rules
from keras_sphereface.config.average import AverageConfig
from keras_sphereface.config.choices import HEADS, KERAS_PREFIX, NETWORKS, START_PREFIX
from keras_sphereface.config.convert import PairsConfig
from keras_sphereface.config.demo import DemoConfig
from keras_sphereface.config.evaluate import EvaluateConfig
from keras_sphereface.config.experiments import CompareConfig, MarginFiguresConfig, SpheresConfig
from keras_sphereface.config.export import ExportConfig, ImportWeightsConfig
from keras_sphereface.config.identify import DistractorsConfig, IdentifyConfig
from keras_sphereface.config.projection import FitProjectionConfig
from keras_sphereface.config.settings_files import read_config
from keras_sphereface.config.train import (
    MAY_CHANGE,
    RUN_FILE,
    SETTINGS_FILE,
    LaunchConfig,
    TrainConfig,
    has_begun,
)
from keras_sphereface.data import folders, records
from keras_sphereface.export.network_files import (
    check_network_path,
    check_onnx_installed,
    check_savedmodel_folder,
    check_savedmodel_path,
)
from keras_sphereface.export.run_files import check_start_path
from keras_sphereface.utils.validation import check_integer

DEMO_MARK = "demo.txt"  # beside a demo's files, so that only a demo's folder is ever replaced


def check_demo(config: DemoConfig) -> None:
    """Refuse a folder that holds something other than an earlier demo.

    Raises:
        FileExistsError: If it does.
    """
    check_demo_folder(Path(config.out))


def check_demo_folder(out: Path) -> None:
    """Refuse a folder that a demo would have to replace, and that is not a demo's.

    Raises:
        FileExistsError: If it is one.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / DEMO_MARK).is_file():
        raise FileExistsError(
            "`out` must be a new folder or that of an earlier demo, which is replaced; choose "
            f"another --out. Received: {out}"
        )


def check_train(config: TrainConfig) -> None:
    """Refuse records, a network, pairs or a folder with which no training can begin.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: With what was received.
    """
    rules.check_train_settings(config)
    if not config.backbone.startswith(START_PREFIX):
        check_backbone_name(config.backbone)
    check_savedmodel_folder(Path(config.workdir) / "export")
    if config.data:
        info = records.read_info(config.data)
        records.check_identities(info, config.data)
        count = config.images_per_identity or (rules.PAIR if config.semi_siamese else 0)
        if config.batch_size and not (HEADS[config.head].images_per_identity or count):
            records.check_batch_size(info, config.batch_size)
        _check_continuation(config, records.data_checksum(info))
    if config.verify_bin:
        check_bin(config.verify_bin)
    if config.verify_pairs and config.verify_images:
        images, columns = config.verify_images, config.pair_columns
        check_pairs(config.verify_pairs, images, config.verify_folds, columns)
    if config.verify_landmarks:
        check_landmarks(config.verify_landmarks, config.landmark_columns)
    # A run that has begun needs the network that it started from no more.
    if config.start_from and not has_begun(config.workdir):
        check_start_path(config.start_from)
    for teacher in config.teacher:
        check_savedmodel_path(teacher, "teacher")
    if config.old_bin:
        check_bin(config.old_bin)
    if config.old_pairs and config.old_images:
        check_pairs(config.old_pairs, config.old_images, config.old_folds)
    if config.old_landmarks:
        check_landmarks(config.old_landmarks)


def check_backbone_name(name: str) -> None:
    """Refuse `keras:NAME` that Keras lacks, and `module:function` without such a module.

    The module is imported later.

    Raises:
        ValueError: If there is none.

    Example:
        >>> check_backbone_name("mynetwork:build")
        Traceback (most recent call last):
        ValueError: `backbone` must be one of sphereface4, ... module:function; no module is called
        mynetwork... Received: backbone='mynetwork:build'
    """
    if name.startswith(KERAS_PREFIX):
        rules.check_keras_network(name.removeprefix(KERAS_PREFIX))
        return
    module = name.partition(":")[0].partition(".")[0]
    if ":" not in name or Path(f"{module}.py").is_file() or Path(module).is_dir():
        return
    with contextlib.suppress(ValueError):  # of a name that is empty
        if importlib.util.find_spec(module):
            return
    raise ValueError(
        f"`backbone` must be one of {', '.join(NETWORKS)}, keras:NAME or module:function; no "
        f"module is called {module}, here or among the installed packages. "
        f"Received: backbone={name!r}"
    )


def _check_continuation(config: TrainConfig, data_checksum: str) -> None:
    """Refuse to continue a run with other settings or records, as far as both are written down.

    What is chosen automatically is compared when the training begins.
    """
    workdir = Path(config.workdir)
    if not has_begun(workdir):
        return
    try:
        before = read_config(TrainConfig, workdir / SETTINGS_FILE)
        run = json.loads((workdir / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the training itself says what is wrong with them
    differences = [
        f"{name}: {old!r} before, {now!r} now"
        for name, old, now in _both(before, config)
        if name not in MAY_CHANGE
        and None not in (old, now)
        and old != now
        # The network is that of the start.
        and not (config.start_from and name in ("backbone", "width", "embedding_size"))
    ]
    if run.get("data_checksum") != data_checksum:
        differences.append("other records in --data")
    if differences:
        raise ValueError(
            f"{workdir} holds a run with other settings; choose another --workdir, or give the "
            f"settings of that run: --config {workdir / SETTINGS_FILE}. "
            f"Received: {'; '.join(differences)}"
        )


def _both(before: TrainConfig, now: TrainConfig) -> Iterator[tuple[str, Any, Any]]:
    for field in dataclasses.fields(TrainConfig):
        yield field.name, getattr(before, field.name), getattr(now, field.name)


def check_evaluate(config: EvaluateConfig) -> None:
    """Refuse networks, pairs or images that cannot be used.

    Raises:
        FileNotFoundError, ValueError: With what was received.
    """
    _check_systems(config.model, config.embeddings)
    rules.check_operating_fmr(config.operating_fmr)
    rules.check_detector_settings(config)
    check_detector(config.detector)
    rules.check_crops(config.crops, config.calibrate)
    if config.groups:
        # Only now: it imports NumPy.
        from keras_sphereface.data.groups import read_groups

        read_groups(config.groups)
    if not (config.pairs or config.bin or config.sets):
        raise ValueError(
            "The pairs to verify must be named: --pairs FILE with --images FOLDER, --bin FILE, or "
            "--sets FOLDER. Received: none of them"
        )
    if config.model and config.pairs and not (config.images or config.records):
        raise ValueError(
            "A network needs the images of the pairs: --images FOLDER or --records FOLDER. "
            f"Received: pairs={config.pairs}"
        )
    for folder in filter(None, (*config.records, config.train_records)):
        records.read_info(folder)
    for path in config.bin:
        check_bin(path)
    for path in config.landmarks:
        check_landmarks(path, config.landmark_columns)
    if config.templates:
        return
    for pairs, images in _one_for_each(config.pairs, config.images):
        check_pairs(pairs, images, config.folds, config.pair_columns)


def check_drawn_pairs(config: PairsConfig) -> None:
    """Refuse a folder without a folder of images for each person.

    Raises:
        ValueError: With what was received.
    """
    folders.check_class_folders(config.images, "images")


def check_pairs(pairs: str, images: str, folds: Sequence[int] = (), columns: str = "") -> None:
    """Refuse a list without pairs, and a folder without any of their images.

    Raises:
        ValueError: If the list has another form or not these folds, or no image of it is in the
            folder.
    """
    # Only now: it imports NumPy.
    from keras_sphereface.data.pairs import read_pair_list

    if _is_pickle(pairs):
        raise ValueError(
            "`pairs` must be a text file; a verification set of InsightFace goes to --bin. "
            f"Received: pairs={pairs}"
        )
    try:
        listed = read_pair_list(pairs, columns=columns, images=images).in_folds(folds)
    except ValueError as error:
        raise ValueError(error if pairs in str(error) else f"{pairs}: {error}") from None
    if images:
        folders.check_holds_some(images, listed.keys(), pairs)


def check_bin(path: str) -> None:
    """Refuse a file that is no verification set of InsightFace.

    Raises:
        ValueError: If it is another file.
    """
    if not _is_pickle(path):
        raise ValueError(
            "`bin` must be a verification set of InsightFace, such as lfw.bin; a list of pairs "
            f"goes to --pairs. Received: bin={path}"
        )


def _is_pickle(path: str) -> bool:
    if os.path.isdir(path):
        return False
    with open(path, "rb") as file:
        head = file.read(2)
    return head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _one_for_each(pairs: Sequence[str], values: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each list of pairs with its folder: one for all, one for each, or none."""
    repeated = values if len(values) > 1 else [*values, ""][:1] * len(pairs)
    if len(repeated) == len(pairs):  # other numbers are refused later
        yield from zip(pairs, repeated, strict=True)


def _check_systems(models: Sequence[str], embeddings: Sequence[str]) -> None:
    if not (models or embeddings):
        raise ValueError(
            "What is to be evaluated must be named: --model, for example runs/first/export, or "
            "--embeddings. Received: neither"
        )
    for path in models:
        check_network_path(path)


def check_identify(config: IdentifyConfig) -> None:
    """Refuse networks or images that cannot be used.

    Raises:
        FileNotFoundError, ValueError: With what was received.
    """
    rules.check_identify_settings(config)
    check_detector(config.detector)
    _check_systems(config.model, config.embeddings)
    if config.model and not (config.images or config.records):
        raise ValueError(
            "A network needs images: --images FOLDER, with a folder for each person, or --records "
            "FOLDER. Received: neither"
        )
    has_lists = not isinstance(config, DistractorsConfig) and config.gallery
    if config.images and not has_lists:
        folders.check_class_folders(config.images, "images")
    if config.records:
        records.read_info(config.records)
    if config.landmarks:
        check_landmarks(config.landmarks, config.landmark_columns)
    if isinstance(config, DistractorsConfig) and config.distractor_landmarks:
        check_landmarks(config.distractor_landmarks, config.landmark_columns)
    if isinstance(config, DistractorsConfig):
        if not config.distractors:
            raise ValueError(
                "`distractors` must be named: --distractors with a folder of images, records, or "
                "an .npz file. Received: nothing"
            )
        folder = Path(config.distractors)
        if folder.is_dir() and not folders.is_records_folder(folder):
            folders.check_class_folders(folder, "distractors")


def check_export(config: ExportConfig) -> None:
    """Refuse a network or images that cannot be used, and formats without their packages.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    check_network_path(config.model)
    if "onnx" in config.formats:
        check_onnx_installed(config.formats)
    if config.images:
        folders.check_class_folders(config.images, "images")
    elif "tflite-int8" in config.formats:
        raise ValueError(
            "The format tflite-int8 is calibrated on faces: give --images FOLDER, or leave the "
            f"format out by --formats. Received: formats={config.formats}"
        )
    if config.pairs and config.images:
        check_pairs(config.pairs, config.images, columns=config.pair_columns)


def check_average_checkpoints(config: AverageConfig) -> None:
    """Refuse a folder for the export that holds something else, and data that are no records.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: With what was received.
    """
    check_savedmodel_folder(Path(config.out) / "export")
    if config.data:
        records.read_info(config.data)


def check_fit_projection(config: FitProjectionConfig) -> None:
    """Refuse a network, records or pairs that cannot be used.

    Raises:
        FileNotFoundError, FileExistsError, ValueError: With what was received.
    """
    check_network_path(config.model)
    if Path(config.model).suffix in (".onnx", ".tflite"):
        raise ValueError(
            "`model` must be a SavedModel folder or a .keras file, to which a layer can be added. "
            f"Received: model={config.model}"
        )
    check_savedmodel_folder(Path(config.out) / "export")
    if any(not 0 <= g <= 1 for g in config.shrinkage):
        raise ValueError(f"`shrinkage` must be in [0, 1]. Received: shrinkage={config.shrinkage}")
    records.check_identities(records.read_info(config.data), config.data)
    if bool(config.pairs) != bool(config.images):
        raise ValueError(
            "`pairs` and `images` go together: --pairs FILE --images FOLDER. "
            f"Received: pairs={config.pairs!r}, images={config.images!r}"
        )
    if config.pairs:
        check_pairs(config.pairs, config.images, config.folds, config.pair_columns)
    if config.landmarks:
        check_landmarks(config.landmarks, config.landmark_columns)


def check_import_weights(config: ImportWeightsConfig) -> None:
    """Refuse a file that is no weights, and an output that is no .keras file.

    Raises:
        ValueError: With what was received.
    """
    # Only now: it imports NumPy.
    from keras_sphereface.export.weights import check_weights_file

    if Path(config.out).suffix != ".keras":
        raise ValueError(f"`out` must be NAME.keras. Received: out={config.out}")
    check_weights_file(config.weights)


def check_margins(config: MarginFiguresConfig) -> None:
    """Refuse a margin or an angle that cannot be drawn.

    Raises:
        ValueError: With what was received.
    """
    rules.check_margin_settings(config)


def check_spheres(config: SpheresConfig) -> None:
    """Refuse records that cannot be used, and a page without plotly.

    Raises:
        FileNotFoundError, ValueError, ImportError: With what was received.
    """
    rules.check_spheres_settings(config)
    if config.data:
        records.check_identities(records.read_info(config.data), config.data)
    if config.html and not importlib.util.find_spec("plotly"):
        raise ImportError(
            "The page of spheres needs plotly: pip install 'keras-sphereface[interactive]'"
        )


def check_compare(config: CompareConfig) -> None:
    """Refuse records, pairs, or flags of the trainings that cannot be used.

    Raises:
        FileNotFoundError, ValueError: With what was received.
        SystemExit: If a flag after `--` is wrong.
    """
    from keras_sphereface.config.parsing import parse_config

    rules.check_compare_settings(config)
    parse_config(TrainConfig, config.training, "sphereface train")
    if config.data:
        records.check_identities(records.read_info(config.data), config.data)
    if config.pairs and config.images:
        check_pairs(config.pairs, config.images, columns=config.pair_columns)


def check_launch(config: LaunchConfig) -> None:
    """Refuse a program that does not exist, and a command whose own check fails.

    Raises:
        FileNotFoundError, ValueError: With what was received.
        SystemExit: If a flag of the command is wrong.
    """
    # Only now: the registry names the functions of this module.
    from keras_sphereface.commands.registry import COMMANDS, settings_of

    check_integer(config.workers, "workers", 1)
    if not config.program:
        raise ValueError(
            "What the workers run must follow a lone `--`, for example: sphereface launch "
            "--workers 2 -- train --data records. Received: nothing"
        )
    first, *words = config.program
    if first in COMMANDS:
        COMMANDS[first].examine(settings_of(first, words))
    elif not first.startswith("-") and not os.path.isfile(first):
        raise FileNotFoundError(
            "After `--` there must be a command of sphereface, for example train, or a Python "
            f"script that exists. Received: {first}"
        )


def check_benchmark(config: Any) -> None:
    """Refuse records or images of a benchmark that cannot be used.

    Raises:
        FileNotFoundError, ValueError: With what was received.
    """
    if data := getattr(config, "data", ""):
        records.check_identities(records.read_info(data), data)
    for name in ("source", "images"):
        if folder := getattr(config, name, ""):
            folders.check_class_folders(folder, name)
    if backbone := getattr(config, "backbone", ""):
        check_backbone_name(backbone)
    if model := getattr(config, "model", ""):
        check_network_path(model)
