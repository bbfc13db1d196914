"""Evaluation: networks and sets of pairs in, `metrics.json`, images and a report out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.config import PROTOCOLS, EvaluateConfig
from keras_sphereface.data import images
from keras_sphereface.evaluation import artifacts, embeddings, face_pairs, quality_checks
from keras_sphereface.evaluation.artifacts import Evaluated
from keras_sphereface.evaluation.embedders import check_images, open_systems, several
from keras_sphereface.evaluation.face_pairs import PairDataset, PairSources
from keras_sphereface.evaluation.verification import angle_metrics, measure_angles, verify
from keras_sphereface.metrics import protocols
from keras_sphereface.utils import names
from keras_sphereface.utils.progress import log


def evaluate(config: EvaluateConfig) -> list[dict]:
    """Evaluate each network on each set of pairs, and write what came of it.

    Of one network and one set the files are in `config.out`; of several each has a folder
    there, and `config.out` the table of all. A pair with a face that is not to be had is left
    out of every number; how many there are, why, and what they could change stands in the result.

    Returns:
        What stands in each metrics.json, set by set.

    Raises:
        FileNotFoundError, ValueError: if a network or a set of pairs cannot be used.
    """
    _check(config)
    # All that is quickly read comes first: few mistakes show only after the long work.
    paths_of_sets = paths_of(config)
    sets = list(
        zip(
            names.distinct(paths.name for paths in paths_of_sets),
            paths_of_sets,
            [read_set(paths, config.folds, config.num_folds) for paths in paths_of_sets],
            strict=True,
        )
    )
    people = quality_checks.read_people(config.train_labels) if config.train_labels else set()
    systems = open_systems(config.model, config.embeddings, config.batch_size)
    for _, paths, _ in sets:
        for system in systems:
            check_images(system, bool(paths.images or paths.records or paths.bin))
    folders = artifacts.folders_of(
        Path(config.out), [name for name, *_ in sets], [system.name for system in systems]
    )
    results: list[Evaluated] = []
    for name, paths, face_set in sets:
        for system in systems:
            log(f"{system.name} on {name}")
            size = system.image_size or images.IMAGE_SIZE
            faces = face_pairs.faces_of_set(paths, face_set.keys(), size)
            known = system.embed(face_set.keys(), faces and faces.load)
            found = _judge(system, name, face_set._replace(faces=faces), known, people, config)
            if not results:
                artifacts.clear(Path(config.out))
            folder = folders[len(results)]
            artifacts.write_result(folder, found)
            if config.save_embeddings:
                embeddings.save(known, folder / artifacts.EMBEDDINGS_FILE)
            results.append(found._replace(faces=None))
    artifacts.write_overview(Path(config.out), results)
    return [result.metrics for result in results]


def paths_of(config: EvaluateConfig) -> list[PairSources]:
    """The files of each set of pairs.

    Raises:
        ValueError: if there is no set, or the numbers of files do not fit together.
    """
    pairs, columns = several(config.pairs), {}
    for name in ("images", "landmarks", "records", "templates"):
        values = several(getattr(config, name))
        if len(values) not in (0, 1, len(pairs)) or (values and not pairs):
            raise ValueError(
                f"`{name}` must be one for all of `pairs`, or one for each. "
                f"Received: {name}={values}, pairs={pairs}"
            )
        columns[name] = values if len(values) > 1 else (values or [""]) * len(pairs)
    sets = [
        PairSources(path, **{name: column[i] for name, column in columns.items()})
        for i, path in enumerate(pairs)
    ]
    sets += [PairSources(bin=path) for path in several(config.bin)]
    if not sets:
        raise ValueError("`pairs` or `bin` must name what to verify. Received: neither")
    return sets


def _check(config):
    for name, least in (("bootstrap", 0), ("num_folds", 2)):
        if (value := getattr(config, name)) < least:
            raise ValueError(f"`{name}` must be >= {least}. Received: {name}={value}")
    if config.protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. "
            f"Received: protocol={config.protocol!r}"
        )


def read_set(paths: PairSources, folds: Sequence[int] = (), num_folds: int = 10) -> PairDataset:
    """The pairs of a set, without their faces.

    Raises:
        FileNotFoundError, ValueError: naming the file, if pairs or faces cannot be used.
    """
    found = face_pairs.read_set(paths, folds, num_folds)
    face_pairs.check_files(paths)
    quality_checks.check_contradictions(found.pairs, found.file)
    try:
        protocols.check_folds(found.pairs.is_same, found.pairs.folds)
    except ValueError as error:
        raise ValueError(f"{found.file}: {error}") from None
    return found


def _judge(system, name, face_set, of_images, people, config):
    """What the embeddings of its images say of a set of pairs."""
    known = _as_named(of_images, face_set)
    verification = verify(
        face_set.pairs,
        known,
        config.protocol,
        replicates=config.bootstrap,
        seed=config.seed,
        file=face_set.file,
    )
    angles = measure_angles(verification.pairs, known, face_set.has_names)
    num_left_out = verification.metrics["num_pairs_left_out"]
    doubts = quality_checks.missing_doubts(
        of_images.missing,
        known.missing if face_set.templates else {},
        num_left_out,
        len(face_set.pairs.first),
    )
    doubts += quality_checks.pair_doubts(face_set.pairs)
    doubts += quality_checks.name_doubts(face_set.pairs, bool(face_set.templates))
    if people and not face_set.has_names:
        doubts.append(
            "Nothing tells whether people of the training set are in these pairs, whose images "
            "have no names of people."
        )
        people = set()
    doubts += quality_checks.shared_doubts(face_set.pairs, people)
    if face_set.faces is not None:
        rng = np.random.default_rng(config.seed)
        doubts += quality_checks.image_doubts(face_set.faces, of_images.keys, rng)
    metrics = {
        "model": system.name,
        "set": name,
        **verification.metrics,
        "missing": {**of_images.missing, **known.missing},
        "criterion": angle_metrics(angles),
        "variants": _variants(system, face_set, of_images, known, verification, people),
        "doubts": doubts,
    }
    return Evaluated(metrics, verification, angles, face_set.faces, face_set.templates)


def _as_named(of_images, face_set):
    """The embeddings of what the pairs name: images, or templates of them."""
    if not face_set.templates:
        return of_images
    return embeddings.of_templates(of_images, face_set.templates)


def _variants(system, face_set, of_images, known, verification, people):
    """The accuracy with other pairs; see `_variant`."""
    pairs, metrics, protocol = face_set.pairs, verification.metrics, verification.protocol
    found = []
    if metrics["num_pairs_left_out"]:
        for which, bound in zip(("wrong", "right"), metrics["accuracy_bounds"], strict=True):
            which = f"all, those left out counted as {which}"
            found.append({"pairs": which, "num_pairs": len(pairs.first), "accuracy_mean": bound})
    unaligned = quality_checks.without_landmarks(of_images.missing)
    if unaligned and face_set.faces.crop is not None:
        more = system.embed(unaligned, face_set.faces.crop)
        with_them = _as_named(embeddings.joined(of_images, more), face_set)
        which = "with images without landmarks, cropped at their center"
        found.append(_variant(which, pairs, with_them, protocol))
    for which, out in (
        ("without repeated pairs", quality_checks.repeated_pairs(pairs)),
        ("without people of the training set", quality_checks.with_people(pairs, people)),
    ):
        if out.any():
            found.append(_variant(which, pairs.select(~out), known, protocol))
    return found


def _variant(which, pairs, known, protocol):
    """The accuracy of other pairs, None if they do not suit the protocol, and which they are."""
    try:
        metrics = verify(pairs, known, protocol).metrics
    except ValueError:
        return {"pairs": which, "num_pairs": len(pairs.first), "accuracy_mean": None}
    return {"pairs": which} | {name: metrics[name] for name in ("num_pairs", "accuracy_mean")}
