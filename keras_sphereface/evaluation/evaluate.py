"""Verification of pairs by several models: metrics.json, images and a report of each."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.config import EvaluateConfig, chosen_settings, save_config
from keras_sphereface.config.choices import PROTOCOLS
from keras_sphereface.config.rules import (
    check_crops,
    check_detector_settings,
    check_operating_fmr,
)
from keras_sphereface.data.folders import check_holds_some
from keras_sphereface.data.groups import GroupTable, check_groups, read_groups
from keras_sphereface.data.images import IMAGE_SIZE
from keras_sphereface.data.landmarks import landmarks_of_keys, read_landmarks
from keras_sphereface.data.records import LABELS_FILE
from keras_sphereface.evaluation import artifacts, face_pairs, quality_checks
from keras_sphereface.evaluation.comparison import SetComparison, compare_set
from keras_sphereface.evaluation.embedders import Embedder, as_list, open_embedders
from keras_sphereface.evaluation.embeddings import Embeddings, save_embeddings
from keras_sphereface.evaluation.face_pairs import PairDataset, PairSources
from keras_sphereface.evaluation.faces import Faces, check_face_files
from keras_sphereface.evaluation.recognition import recognition_of, write_recognition_files
from keras_sphereface.evaluation.result import (
    EvaluationResult,
    add_calibration,
    add_training_overlap,
    evaluate_pairs,
)
from keras_sphereface.evaluation.set_folder import find_sets, set_warnings
from keras_sphereface.evaluation.training_overlap import read_training_set
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.export.recognition_file import RECOGNITION_FILE, recognition_path
from keras_sphereface.metrics import protocols
from keras_sphereface.utils import names
from keras_sphereface.utils.progress import log, stage, warn_once


def evaluate(config: EvaluateConfig) -> list[EvaluationMetrics]:
    """Evaluate each model on each set of pairs, and write the results.

    With one model and one set all files are in `config.out`. With several each combination has
    a folder there, and `config.out` the table of all and a report that compares them. Pairs
    with a missing face are left out of every number; their count, the reasons and the bounds of
    the accuracy are in the result.

    Args:
        config: Models, pairs, sources of the faces, protocol and output folder.

    Returns:
        The contents of each metrics.json, set by set.

    Raises:
        FileNotFoundError, ValueError: If a model or a set of pairs cannot be used.

    Example:
        >>> (metrics,) = evaluate(EvaluateConfig(
        ...     out="evaluation", model=("model",), images=("faces/images",),
        ...     pairs=("faces/pairs.txt",), landmarks=("faces/landmarks.txt",), bootstrap=0))
        >>> metrics.verification.num_pairs
        56
    """
    _check(config.protocol, config.bootstrap, config.num_folds)
    _check_calibration(config.calibrate, config.folds, config.calibration_folds)
    check_operating_fmr(config.operating_fmr)
    check_detector_settings(config)
    check_crops(config.crops, config.calibrate)
    # All that is quickly read comes first: few mistakes show only after the long work.
    found = find_sets(config.sets) if config.sets else []
    all_sources = [*pair_sources(config), *(one.sources for one in found)]
    datasets = [checked_dataset(s, config.folds, config.num_folds) for s in all_sources]
    if config.calibrate:
        datasets = [judged_dataset(one, config.calibration_folds) for one in datasets]
    labels = config.train_labels
    if config.train_records and not labels:
        labels = str(Path(config.train_records) / LABELS_FILE)
    training_identities = quality_checks.read_training_identities(labels) if labels else set()
    groups = _groups_of_sets(config.groups, datasets)
    training = read_training_set(config.train_records) if config.train_records else None
    embedders = open_embedders(config.model, config.embeddings, config.batch_size, config.crops)
    for sources, embedder in itertools.product(all_sources, embedders):
        embedder.require_images(sources.has_faces)
    found_of = {one.sources: one for one in found}
    out, set_names = (
        Path(config.out),
        names.distinct(
            found_of[sources].known.name if sources in found_of else sources.name
            for sources in all_sources
        ),
    )
    folders = artifacts.result_folders(out, set_names, [embedder.name for embedder in embedders])
    next_folder = iter(folders)
    results: list[EvaluationMetrics] = []
    comparisons: list[SetComparison] = []
    warned: set[str] = set()
    for set_name, sources, dataset, groups_of_set in zip(
        set_names, all_sources, datasets, groups, strict=True
    ):
        of_set: list[EvaluationResult] = []
        with_others = dataset
        if config.calibrate:
            with_others = with_calibration_folds(
                sources, dataset, config.calibration_folds, config.num_folds
            )
        points = _landmarks_of_set(sources, dataset.keys())
        for embedder in embedders:
            folder = next(next_folder)
            log(f"{embedder.name} on {set_name}")
            opened, all_embeddings = _embed(embedder, sources, with_others.keys())
            image_embeddings = all_embeddings.select(dataset.keys())
            dataset = dataset._replace(faces=opened)
            with stage("comparing pairs"):
                result = evaluate_pairs(
                    embedder,
                    set_name,
                    dataset,
                    image_embeddings,
                    config.protocol,
                    config.bootstrap,
                    config.seed,
                    training_identities,
                    groups_of_set,
                    config.operating_fmr,
                    points,
                )
            if training is not None:
                with stage("looking for training images"):
                    result = add_training_overlap(
                        result, dataset, embedder, training, image_embeddings
                    )
            if config.calibrate:
                with stage("calibrating"):
                    result = add_calibration(
                        result,
                        with_others,
                        all_embeddings,
                        config.calibration_folds,
                        config.bootstrap,
                        config.seed,
                        training_identities,
                    )
            if sources in found_of:
                notes = set_warnings(found_of[sources], dataset, not config.folds)
                result = result._replace(
                    metrics=dataclasses.replace(
                        result.metrics, warnings=(*notes, *result.metrics.warnings)
                    )
                )
            warn_once(result.metrics.warnings, warned)
            if not results:
                artifacts.clear_folder(out)
            with stage("drawing the report"):
                artifacts.write_result(folder, result, chosen_settings(config))
            if result.metrics.calibration is not None:
                recognition = recognition_of(
                    result.metrics, embedder, sources, all_embeddings.views
                )
                places = [folder / RECOGNITION_FILE]
                # With several sets no one of them is the model's.
                places += [recognition_path(embedder.path)] if len(all_sources) == 1 else []
                write_recognition_files(recognition, places)
            if config.save_embeddings:
                save_embeddings(all_embeddings, folder / artifacts.EMBEDDINGS_FILE)
            of_set.append(result._replace(faces=None))
            results.append(result.metrics)
        if len(of_set) > 1:
            with stage("comparing the models"):
                comparisons.append(compare_set(of_set, dataset, config.bootstrap, config.seed))
    with stage("drawing the overview"):
        artifacts.write_overview(out, results, comparisons)
        save_config(config, out / artifacts.SETTINGS_FILE)
    return results


def _check(protocol: str, replicates: int, num_folds: int) -> None:
    for name, value, smallest in (("bootstrap", replicates, 0), ("num_folds", num_folds, 2)):
        if value < smallest:
            raise ValueError(f"`{name}` must be >= {smallest}. Received: {name}={value}")
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: protocol={protocol!r}"
        )


def _check_calibration(
    calibrate: bool, folds: Sequence[int], calibration_folds: Sequence[int]
) -> None:
    if calibration_folds and not calibrate:
        raise ValueError(
            "`calibration_folds` are for `calibrate`. "
            f"Received: calibration_folds={tuple(calibration_folds)}, calibrate=False"
        )
    if both := sorted({*folds} & {*calibration_folds}):
        raise ValueError(
            "A fold is either calibrated on or judged. "
            f"Received: {both[0]} in `calibration_folds` and in `folds`"
        )


def judged_dataset(dataset: PairDataset, calibration_folds: Sequence[int]) -> PairDataset:
    """Return a set of pairs without the folds that are calibrated on.

    Raises:
        ValueError: If fewer than two folds are left to judge.
    """
    rest = sorted(set(dataset.pairs.folds.tolist()) - set(calibration_folds))
    if len(rest) < 2:
        raise ValueError(
            f"{dataset.file}: two folds or more must be left to judge. Received: {rest} beside "
            f"calibration_folds={tuple(calibration_folds)}"
        )
    return dataset._replace(pairs=dataset.pairs.in_folds(rest))


def with_calibration_folds(
    sources: PairSources, dataset: PairDataset, calibration_folds: Sequence[int], num_folds: int
) -> PairDataset:
    """Return a set of pairs together with the folds that are calibrated on.

    Raises:
        ValueError: If such a fold does not exist.
    """
    if not calibration_folds:
        return dataset
    folds = {*dataset.pairs.folds.tolist(), *calibration_folds}
    return face_pairs.read_pair_dataset(sources, sorted(folds), num_folds)


def _landmarks_of_set(sources: PairSources, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Return {key: its points in the original image} of a set; empty without landmarks."""
    if not sources.landmarks:
        return {}
    return landmarks_of_keys(read_landmarks(sources.landmarks, sources.landmark_columns), keys)


def _groups_of_sets(path: str, datasets: Sequence[PairDataset]) -> list[GroupTable | None]:
    """Return the groups for each set of pairs; None for sets of which the file names no image.

    Raises:
        ValueError: If the file has another form, or names no image of any set.
    """
    if not path:
        return [None] * len(datasets)
    table, errors = read_groups(path), []
    groups: list[GroupTable | None] = []
    for dataset in datasets:
        try:
            check_groups(table, dataset.pairs.keys(), dataset.has_names)
            groups.append(table)
        except ValueError as error:
            errors.append(error)
            groups.append(None)
    if len(errors) == len(datasets):
        raise errors[0]
    return groups


def pair_sources(config: EvaluateConfig) -> list[PairSources]:
    """Return the sources of each set of pairs.

    Raises:
        ValueError: If there is no set, or the numbers of paths do not fit together.
    """
    pairs, columns = as_list(config.pairs), {}
    for name in ("images", "landmarks", "records", "templates"):
        values = as_list(getattr(config, name))
        if len(values) not in (0, 1, len(pairs)) or (values and not pairs):
            raise ValueError(
                f"`{name}` must be one for all of `pairs`, or one for each. "
                f"Received: {name}={values}, pairs={pairs}"
            )
        columns[name] = values if len(values) > 1 else (values or [""]) * len(pairs)
    sets = [
        PairSources(
            path,
            **{name: column[i] for name, column in columns.items()},
            landmark_columns=config.landmark_columns,
            pair_columns=config.pair_columns,
            detector=config.detector,
            policy=config.policy,
        )
        for i, path in enumerate(pairs)
    ]
    sets += [PairSources(bin=path) for path in as_list(config.bin)]
    if not (sets or config.sets):
        raise ValueError("`pairs`, `bin` or `sets` must name the pairs to verify. Received: none")
    return sets


def checked_dataset(
    sources: PairSources, folds: Sequence[int] = (), num_folds: int = 10
) -> PairDataset:
    """Read pairs without their faces, and check that the faces can be opened and the folds used.

    Args:
        sources: Paths of the pairs and of their faces.
        folds: Numbers of the folds to read, from 1; all if empty.
        num_folds: Int. Number of folds of pairs that name none, as in a .bin.

    Raises:
        FileNotFoundError, ValueError: If pairs or faces cannot be used, with the file.
    """
    dataset = face_pairs.read_pair_dataset(sources, folds, num_folds)
    check_face_files(sources.faces)
    if sources.images:
        check_holds_some(sources.images, dataset.keys(), dataset.file)
    quality_checks.check_contradictions(dataset.pairs, dataset.file)
    try:
        protocols.check_folds(dataset.pairs.is_same, dataset.pairs.folds)
    except ValueError as error:
        raise ValueError(f"{dataset.file}: {error}") from None
    return dataset


def _embed(
    embedder: Embedder, sources: PairSources, keys: Sequence[str]
) -> tuple[Faces | None, Embeddings]:
    """Open the faces in the size that the embedder takes, and embed them."""
    size = embedder.image_size or IMAGE_SIZE
    opened = face_pairs.open_dataset_faces(sources, keys, size)
    return opened, embedder.embed(keys, opened and opened.load)
