"""Identification: networks and images in; `metrics.json`, `probes.csv`, a curve, a report out."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_sphereface.config.identify import (
    ClosedSetConfig,
    DistractorsConfig,
    IdentifyConfig,
    OpenSetConfig,
)
from keras_sphereface.config.rules import check_identify_settings
from keras_sphereface.evaluation.embedders import Embedder, open_embedders
from keras_sphereface.evaluation.identification import closed_set, distractors, inputs, open_set
from keras_sphereface.evaluation.identification import gallery as galleries
from keras_sphereface.evaluation.identification.gallery import GallerySplit
from keras_sphereface.evaluation.identification.gallery_search import search_probes
from keras_sphereface.evaluation.identification.labeled_images import LabeledImages
from keras_sphereface.evaluation.identification.report import write_results
from keras_sphereface.evaluation.identification.result import (
    IdentificationMetrics,
    IdentificationResult,
)
from keras_sphereface.utils.progress import stage, warn_once

Measure = Callable[[Embedder], IdentificationResult]


def evaluate_identification(config: IdentifyConfig) -> list[IdentificationMetrics]:
    """Identify probes with each system, and write the results to `config.out`.

    Args:
        config: Settings; their class is the protocol.

    Returns:
        The metrics of each system, as they stand in metrics.json.

    Raises:
        FileNotFoundError, ValueError: If networks, images or lists cannot be used.

    Reference:
        Phillips, Grother and Micheals, "Evaluation Methods in Face Recognition", 2011;
        Kemelmacher-Shlizerman et al., "The MegaFace Benchmark", CVPR 2016.

    Example:
        >>> config = ClosedSetConfig(out="out", model=("model",), images="faces/images")
        >>> (metrics,) = evaluate_identification(config)
        >>> metrics.num_gallery_identities, metrics.num_probes
        (19, 95)
    """
    check_identify_settings(config)
    embedders = open_embedders(config.model, config.embeddings, config.batch_size)
    for embedder in embedders:
        embedder.require_images(bool(config.images or config.records))
    lists = inputs.read_lists(config)
    with stage("listing images"):
        images = inputs.read_labeled_images(config, lists)
    if isinstance(config, DistractorsConfig):
        measure = _among_distractors(config, images, len(embedders))
    else:
        measure = _in_gallery(config, images, _gallery(config, images, lists))
    results, warned = [], set[str]()
    for embedder in embedders:
        results.append(measure(embedder))
        warn_once(results[-1].metrics.warnings, warned)
    with stage("drawing the report"):
        write_results(Path(config.out), config.protocol, results)
    return [result.metrics for result in results]


def _gallery(
    config: ClosedSetConfig | OpenSetConfig, images: LabeledImages, lists: GallerySplit | None
) -> GallerySplit:
    """Return the gallery and the probes of the lists or, without lists, drawn from the seed."""
    if lists is not None:
        return inputs.remaining_gallery(lists, images)
    identities, count = images.identities, config.gallery_images
    rng = np.random.default_rng(config.seed)
    if isinstance(config, ClosedSetConfig):
        return galleries.split_closed_set(identities, count, rng)
    return galleries.split_open_set(identities, count, config.unknown_share, rng)


def _in_gallery(
    config: ClosedSetConfig | OpenSetConfig, images: LabeledImages, gallery: GallerySplit
) -> Measure:
    draws = (config.bootstrap, config.seed)
    search = functools.partial(search_probes, images=images, gallery=gallery, seed=config.seed)
    if isinstance(config, ClosedSetConfig):
        galleries.check_closed_set(gallery, config.probes)
        max_rank = config.max_rank
        return lambda embedder: closed_set.measure_closed_set(search(embedder), max_rank, *draws)
    galleries.check_open_set(gallery)
    candidates = config.candidates
    return lambda embedder: open_set.measure_open_set(search(embedder), candidates, *draws)


def _among_distractors(
    config: DistractorsConfig, images: LabeledImages, num_embedders: int
) -> Measure:
    distractors.check_has_mates(images.identities)
    with stage("listing distractors"):
        opened = distractors.open_distractors(
            config.distractors,
            config.distractor_landmarks,
            config.landmark_columns,
            set(images.identities.values()),
            num_embedders,
            config.seed,
            config.detector,
            config.policy,
        )
    return functools.partial(
        distractors.measure_among_distractors,
        images=images,
        distractors=opened,
        max_rank=config.max_rank,
        seed=config.seed,
    )
