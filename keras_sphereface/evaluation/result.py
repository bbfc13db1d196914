"""The result of one model on one set of pairs: metrics, warnings and variants."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_sphereface.data.groups import GroupTable
from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation import quality_checks
from keras_sphereface.evaluation.acquisition import measure_acquisition
from keras_sphereface.evaluation.all_pairs_thresholds import ImageFeatures
from keras_sphereface.evaluation.beyond import MAX_IMAGES, measure_beyond
from keras_sphereface.evaluation.beyond_metrics import BeyondMetrics
from keras_sphereface.evaluation.calibration import Calibration, calibrate_pairs, plain_cosines
from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.embeddings import Embeddings, template_embeddings
from keras_sphereface.evaluation.error_analysis import identity_table, measure_errors
from keras_sphereface.evaluation.face_pairs import PairDataset, Templates
from keras_sphereface.evaluation.faces import Faces
from keras_sphereface.evaluation.groups import measure_groups
from keras_sphereface.evaluation.image_quality import image_table, measure_image_quality
from keras_sphereface.evaluation.operating_point import compare_images
from keras_sphereface.evaluation.training_overlap import (
    TrainingSet,
    duplicate_warnings,
    identity_warnings,
)
from keras_sphereface.evaluation.verification import (
    Angles,
    Verification,
    complete_pairs,
    measure_angles,
    measure_criterion,
    verify_pairs,
)
from keras_sphereface.evaluation.verification_metrics import AccuracyVariant, EvaluationMetrics


class EvaluationResult(NamedTuple):
    """The result of one model on one set of pairs, with all that its files are made from."""

    metrics: EvaluationMetrics
    verification: Verification
    angles: Angles
    faces: Faces | None
    templates: Templates
    calibration: Calibration | None = None
    tables: Mapping[str, pd.DataFrame] = {}  # {file: table} of identities and of images


def evaluate_pairs(
    embedder: Embedder,
    set_name: str,
    dataset: PairDataset,
    image_embeddings: Embeddings,
    protocol: str,
    replicates: int,
    seed: int,
    training_identities: set[str],
    groups: GroupTable | None = None,
    operating_fmr: float = 0.001,
    landmarks: Mapping[str, np.ndarray] | None = None,
) -> EvaluationResult:
    """Verify a set of pairs by the embeddings of its images, and check its quality.

    Args:
        embedder: Model of the embeddings; it embeds more images for the variants.
        set_name: Name of the set of pairs.
        dataset: Pairs with the loaders of their faces, if there are any.
        image_embeddings: Embeddings of the images.
        protocol: Name of the protocol.
        replicates: Int. Bootstrap draws for the intervals; 0 computes none.
        seed: Int. Seed of the bootstrap and of the sample of images that is checked.
        training_identities: Identities of the training set; empty if unknown.
        groups: Groups of identities or images; None: none are compared.
        operating_fmr: Float in (0, 1). False match rate of the threshold of groups and
            errors.
        landmarks: {key: (5, 2) points in the original image}; None where there are none.

    Raises:
        ValueError: If no pair is complete, or the protocol cannot judge the complete ones.
    """
    embeddings = _of_pairs(image_embeddings, dataset)
    missing_templates = embeddings.missing if dataset.templates else {}
    verification = verify_pairs(
        dataset.pairs, embeddings, protocol, replicates, seed, dataset.file, dataset.has_names
    )
    warnings = quality_checks.dataset_warnings(
        dataset,
        image_embeddings.missing,
        missing_templates,
        verification.metrics.num_pairs_left_out,
        training_identities,
    )
    warnings += quality_checks.embedding_warnings(image_embeddings.views)
    if dataset.faces is not None:
        rng = np.random.default_rng(seed)
        warnings += quality_checks.image_warnings(dataset.faces, image_embeddings.keys, rng)
    angles = measure_angles(verification.pairs, embeddings, dataset.has_names)
    # Without names, nothing shows which identities the pairs share with the training set.
    shared = training_identities if dataset.has_names else set()
    compared = compare_images(verification.pairs, embeddings, dataset.has_names, operating_fmr)
    of_groups = groups and measure_groups(groups, compared, verification, replicates, seed)
    quality = None
    if not dataset.templates:
        images = image_table(compared, embeddings, dataset.faces, landmarks)
        quality = measure_image_quality(compared, images, replicates, seed)
    metrics = EvaluationMetrics(
        model=embedder.name,
        set=set_name,
        warnings=tuple(warnings),
        verification=dataclasses.replace(
            verification.metrics, missing={**image_embeddings.missing, **missing_templates}
        ),
        acquisition=measure_acquisition(dataset, image_embeddings, verification),
        runtime=embedder.runtime(embeddings.features.shape[1]),
        criterion=measure_criterion(angles),
        variants=tuple(_variants(embedder, dataset, image_embeddings, verification, shared)),
        groups=of_groups,
        beyond=_beyond(dataset, verification, embeddings, replicates, seed),
        errors=measure_errors(compared, dataset.faces, seed),
        quality=quality,
    )
    tables = {} if dataset.templates else {"images.csv": images}
    if (identities := identity_table(compared)) is not None:
        tables["identities.csv"] = identities
    return EvaluationResult(
        metrics, verification, angles, dataset.faces, dataset.templates, tables=tables
    )


def _beyond(
    dataset: PairDataset,
    verification: Verification,
    embeddings: Embeddings,
    replicates: int,
    seed: int,
) -> BeyondMetrics | None:
    """Return the rates of all pairs of images; None where identities are unknown."""
    if not dataset.has_names or dataset.templates:
        return None
    mismatched = verification.pairs.select(~verification.pairs.is_same)
    listed = plain_cosines(mismatched, embeddings)
    return measure_beyond(embeddings, verification.pairs.keys(), listed, replicates, seed)


def add_training_overlap(
    result: EvaluationResult,
    dataset: PairDataset,
    embedder: Embedder,
    training: TrainingSet,
    image_embeddings: Embeddings,
) -> EvaluationResult:
    """Return a result with warnings of training images and identities among those of the pairs.

    Args:
        result: The result.
        dataset: Pairs with the loaders of their faces; without, only names can be compared.
        embedder: Model; saved embeddings cannot embed the training images.
        training: Training records.
        image_embeddings: Embeddings of the images of the pairs.
    """
    if dataset.faces is None:
        return result
    warnings = duplicate_warnings(training, dataset.faces, image_embeddings.keys)
    if embedder.image_size is not None and not dataset.templates:
        pairs = result.verification.pairs
        warnings += identity_warnings(training, embedder, pairs, image_embeddings)
    metrics = dataclasses.replace(result.metrics, warnings=(*result.metrics.warnings, *warnings))
    return result._replace(metrics=metrics)


def add_calibration(
    result: EvaluationResult,
    dataset: PairDataset,
    image_embeddings: Embeddings,
    calibration_folds: Sequence[int],
    replicates: int,
    seed: int,
    training_identities: set[str],
) -> EvaluationResult:
    """Return a result with the calibration of its scores.

    Args:
        result: The result on the judged pairs.
        dataset: Pairs to calibrate on and pairs to judge.
        image_embeddings: Embeddings of the images of both.
        calibration_folds: Folds to calibrate on; see `calibrate_pairs`.
        replicates: Int. Draws of identities for the intervals; 0 computes none.
        seed: Int. Seed of the draws.
        training_identities: Identities of the training set; empty if unknown.

    Raises:
        ValueError: If a side of a split has no matched or no mismatched pairs.
    """
    embeddings = _of_pairs(image_embeddings, dataset)
    pairs = dataset.pairs.select(complete_pairs(dataset.pairs, embeddings.missing, dataset.file))
    images = None
    if dataset.has_names and not dataset.templates and len(embeddings.keys) <= MAX_IMAGES:
        names = np.array([lfw.identity_of_key(key) for key in embeddings.keys])
        images = ImageFeatures(embeddings.features, names)
    calibrated = calibrate_pairs(
        plain_cosines(pairs, embeddings),
        pairs,
        dataset.has_names,
        calibration_folds,
        replicates,
        seed,
        images,
    )
    known = training_identities if dataset.has_names else set()
    warnings = quality_checks.trained_calibration_warnings(pairs.select(calibrated.final), known)
    metrics = dataclasses.replace(
        result.metrics,
        warnings=(*result.metrics.warnings, *warnings),
        calibration=calibrated.metrics,
    )
    return result._replace(metrics=metrics, calibration=calibrated)


def _of_pairs(image_embeddings: Embeddings, dataset: PairDataset) -> Embeddings:
    """Return the embeddings of what the pairs name: images, or templates of them."""
    if not dataset.templates:
        return image_embeddings
    return template_embeddings(image_embeddings, dataset.templates)


def _variants(
    embedder: Embedder,
    dataset: PairDataset,
    image_embeddings: Embeddings,
    verification: Verification,
    shared: set[str],
) -> Iterator[AccuracyVariant]:
    """Yield the accuracy with other pairs, where something is missing, repeated or shared."""
    pairs, numbers, protocol = dataset.pairs, verification.metrics, verification.protocol
    if numbers.num_pairs_left_out:
        for decision, bound in zip(("wrong", "correct"), numbers.accuracy_bounds, strict=True):
            description = f"all, those left out counted as {decision}"
            yield AccuracyVariant(description, len(pairs.first), bound)
    unaligned = quality_checks.without_landmarks(image_embeddings.missing)
    if unaligned and dataset.faces is not None and dataset.faces.crop is not None:
        cropped = embedder.embed(unaligned, dataset.faces.crop)
        embeddings = _of_pairs(image_embeddings.merge(cropped), dataset)
        description = "with images without landmarks, cropped at their center"
        yield _variant(description, pairs, embeddings, protocol)
    for description, excluded in (
        ("without repeated pairs", quality_checks.repeated_pairs(pairs)),
        (
            "without identities of the training set",
            quality_checks.contains_identity(pairs, shared),
        ),
    ):
        if excluded.any():
            embeddings = _of_pairs(image_embeddings, dataset)
            yield _variant(description, pairs.select(~excluded), embeddings, protocol)


def _variant(
    description: str, pairs: lfw.Pairs, embeddings: Embeddings, protocol: str
) -> AccuracyVariant:
    """Return the accuracy with other pairs; None if the protocol cannot judge them."""
    try:
        metrics = verify_pairs(pairs, embeddings, protocol).metrics
    except ValueError:
        return AccuracyVariant(description, len(pairs.first), None)
    return AccuracyVariant(description, metrics.num_pairs, metrics.accuracy_mean)
