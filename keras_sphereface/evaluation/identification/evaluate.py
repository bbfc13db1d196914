"""Identification: networks and images in; `metrics.json`, `probes.csv`, a curve, a report out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_sphereface.config.identify import (
    ClosedSetConfig,
    DistractorsConfig,
    IdentifyConfig,
    OpenSetConfig,
)
from keras_sphereface.evaluation.embedders import Embedder, open_embedders
from keras_sphereface.evaluation.identification.closed_set import measure_closed_set
from keras_sphereface.evaluation.identification.distractors import (
    check_has_pairs,
    measure_among_distractors,
    open_distractors,
)
from keras_sphereface.evaluation.identification.gallery import (
    Gallery,
    check_closed_set,
    check_open_set,
    split_closed_set,
    split_open_set,
)
from keras_sphereface.evaluation.identification.gallery_search import search_probes
from keras_sphereface.evaluation.identification.inputs import (
    check_identify_settings,
    read_labeled_images,
    read_lists,
    remaining_gallery,
)
from keras_sphereface.evaluation.identification.labeled_images import LabeledImages
from keras_sphereface.evaluation.identification.open_set import measure_open_set
from keras_sphereface.evaluation.identification.report import write_results
from keras_sphereface.evaluation.identification.result import (
    IdentificationMetrics,
    IdentificationResult,
)

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
    lists = read_lists(config)
    images = read_labeled_images(config, lists)
    if isinstance(config, DistractorsConfig):
        measure = _among_distractors(config, images, len(embedders))
    elif isinstance(config, ClosedSetConfig):
        measure = _in_closed_set(config, images, lists)
    else:
        measure = _in_open_set(config, images, lists)
    results = [measure(embedder) for embedder in embedders]
    write_results(Path(config.out), config.protocol, results)
    return [result.metrics for result in results]


def _in_closed_set(
    config: ClosedSetConfig, images: LabeledImages, lists: Gallery | None
) -> Measure:
    seed, max_rank = config.seed, config.max_rank
    gallery = (
        split_closed_set(images.identities, config.gallery_images, np.random.default_rng(seed))
        if lists is None
        else remaining_gallery(lists, images)
    )
    check_closed_set(gallery, config.probes)
    return lambda embedder: measure_closed_set(
        search_probes(embedder, images, gallery, seed), max_rank
    )


def _in_open_set(config: OpenSetConfig, images: LabeledImages, lists: Gallery | None) -> Measure:
    seed, candidates = config.seed, config.candidates
    gallery = (
        split_open_set(
            images.identities,
            config.gallery_images,
            config.unknown_share,
            np.random.default_rng(seed),
        )
        if lists is None
        else remaining_gallery(lists, images)
    )
    check_open_set(gallery)
    return lambda embedder: measure_open_set(
        search_probes(embedder, images, gallery, seed), candidates
    )


def _among_distractors(
    config: DistractorsConfig, images: LabeledImages, num_embedders: int
) -> Measure:
    seed, max_rank = config.seed, config.max_rank
    check_has_pairs(images.identities)
    distractors = open_distractors(
        config.distractors,
        config.distractor_landmarks,
        set(images.identities.values()),
        num_embedders,
        seed,
    )
    return lambda embedder: measure_among_distractors(embedder, images, distractors, max_rank, seed)
