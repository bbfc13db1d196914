"""The recognition.json that an evaluation with `--calibrate` writes."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_sphereface.data.alignment import landmark_template
from keras_sphereface.data.synthetic import is_generated
from keras_sphereface.evaluation.embedders import Embedder
from keras_sphereface.evaluation.face_pairs import PairSources
from keras_sphereface.evaluation.verification_metrics import EvaluationMetrics
from keras_sphereface.export.recognition_file import (
    SCORE,
    OrdinaryNorms,
    Recognition,
    RecognitionThreshold,
    model_fingerprint,
    write_recognition,
)
from keras_sphereface.metrics.bootstrap import Interval
from keras_sphereface.utils.progress import log

FIVE_POINTS, CENTER_CROP, AS_STORED, UNKNOWN = "five points", "center crop", "as stored", "unknown"


def recognition_of(
    metrics: EvaluationMetrics, embedder: Embedder, sources: PairSources, views: np.ndarray
) -> Recognition:
    """Return the contents of recognition.json.

    Args:
        metrics: Metrics with a calibration.
        embedder: The network or saved embeddings.
        sources: Sources of the faces.
        views: (N, V, D) embeddings of the images and, V = 2, of their mirror images.

    Raises:
        ValueError: If the metrics have no calibration.
    """
    calibration = metrics.calibration
    if calibration is None:
        raise ValueError("The metrics must have a calibration. Received: none")
    alignment = alignment_of(sources)
    template = None
    if alignment == FIVE_POINTS and embedder.image_size is not None:
        template = tuple((float(x), float(y)) for x, y in landmark_template(embedder.image_size))
    return Recognition(
        model=metrics.model,
        fingerprint=model_fingerprint(embedder.path),
        score=SCORE,
        fusion="concatenate" if metrics.verification.num_views == 2 else "none",
        embedding_size=views.shape[1] * views.shape[2],
        image_size=embedder.image_size,
        color_order="RGB",
        alignment=alignment,
        template=template,
        slope=calibration.slope,
        offset=calibration.offset,
        cllr=calibration.cllr,
        min_cllr=calibration.min_cllr,
        thresholds=tuple(
            RecognitionThreshold(
                point.fmr,
                point.threshold,
                _ends(point.threshold_interval),
                point.judged_fmr,
                _ends(point.judged_fmr_interval),
                point.judged_fnmr,
                _ends(point.judged_fnmr_interval),
            )
            for point in calibration.thresholds
        ),
        data=metrics.set,
        date=datetime.date.today().isoformat(),
        identities_are_apart=calibration.identities_are_apart,
        num_calibration_identities=calibration.num_calibration_identities,
        num_calibration_pairs=calibration.num_calibration_pairs,
        num_judged_identities=calibration.num_judged_identities,
        num_judged_pairs=calibration.num_judged_pairs,
        norms=OrdinaryNorms.of(np.linalg.norm(views[:, 0].astype(np.float64), axis=1)),
        generated_faces=bool(sources.pairs) and is_generated(Path(sources.pairs).parent),
    )


def alignment_of(sources: PairSources) -> str:
    """Return how the faces of a set come to their places, in a word or two.

    Example:
        >>> alignment_of(PairSources("faces/pairs.txt", "faces/images", "faces/landmarks.txt"))
        'five points'
    """
    if sources.landmarks or sources.detector:
        return FIVE_POINTS
    if sources.images:
        return CENTER_CROP
    return AS_STORED if sources.has_faces else UNKNOWN


def write_recognition_files(recognition: Recognition, places: Sequence[Path]) -> None:
    """Write the file to each place; a model's folder that cannot be written to is no error."""
    for i, place in enumerate(places):
        try:
            write_recognition(place, recognition)
        except OSError as error:
            if i == 0:
                raise
            log(f"{place} cannot be written ({error}); {places[0]} holds the same")


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)
