"""Failures to acquire and to enroll, and error rates that count them.

A system that refuses difficult images makes fewer errors on those that are left. Error rates are
comparable only where a refused image counts as one that matches nobody: a matched pair with it is
a false non-match, a mismatched pair a correct one.

References: ISO/IEC 19795-1, 2021, on failures to enroll (FTE) and to acquire (FTA); Grother et al.,
"Face Recognition Technology Evaluation, Part 1: Verification", NIST, which counts both in the FNMR.
"""

import functools

import numpy as np

from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.face_pairs import PairDataset
from keras_sphereface.evaluation.verification import Verification, values_by_far
from keras_sphereface.evaluation.verification_metrics import AcquisitionMetrics
from keras_sphereface.metrics import roc


def measure_acquisition(
    dataset: PairDataset, image_embeddings: Embeddings, verification: Verification
) -> AcquisitionMetrics:
    """Count what could not be embedded, and measure the FNMR over all pairs.

    Args:
        dataset: All pairs, with their templates if they name any.
        image_embeddings: Embeddings of the images, with the reasons why others are missing.
        verification: Result on the complete pairs.

    Example:
        >>> from keras_sphereface.config import EvaluateConfig
        >>> from keras_sphereface.evaluation import evaluate
        >>> (metrics,) = evaluate(EvaluateConfig(
        ...     out="evaluation", model=("model",), images=("faces/images",),
        ...     pairs=("faces/pairs.txt",), landmarks=("faces/landmarks.txt",), bootstrap=0))
        >>> metrics.acquisition.fta
        0.0
    """
    keys = dataset.keys()
    num_failed = sum(key in image_embeddings.missing for key in keys)
    failed_templates = sum(
        all(key in image_embeddings.missing for key, _ in entries)
        for entries in dataset.templates.values()
    )
    complete = set(zip(verification.pairs.first, verification.pairs.second, strict=True))
    both = zip(dataset.pairs.first, dataset.pairs.second, strict=True)
    is_left_out = np.array([pair not in complete for pair in both])
    is_same = np.concatenate([verification.pairs.is_same, dataset.pairs.is_same[is_left_out]])
    failed = np.full(int(is_left_out.sum()), -np.inf)
    curve = roc.roc_curve(np.concatenate([verification.result.scores, failed]), is_same)
    tars = values_by_far(functools.partial(roc.tar_at_far, curve), int(np.sum(~is_same)))
    num_templates = len(dataset.templates)
    return AcquisitionMetrics(
        num_images=len(keys),
        num_failures_to_acquire=num_failed,
        fta=num_failed / len(keys),
        num_templates=num_templates,
        num_failures_to_enroll=failed_templates,
        fte=failed_templates / num_templates if num_templates else None,
        fnmr_at_fmr={far: None if tar is None else 1 - tar for far, tar in tars.items()},
    )
