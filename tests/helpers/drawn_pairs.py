"""Pairs of identities with drawn embeddings: verification without images or networks."""

import dataclasses

import numpy as np

from keras_sphereface.data.pairs import lfw
from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.verification import (
    Verification,
    measure_angles,
    measure_criterion,
)
from keras_sphereface.evaluation.verification_metrics import AccuracyVariant, EvaluationMetrics


def draw_embeddings(count, images=4, spread=0.5, seed=0):
    """Embeddings of so many images of each of `count` identities, near a random direction each."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 1, 2, 8))
    views = directions + spread * rng.normal(size=(count, images, 2, 8))
    keys = [f"P{i}/P{i}_{j}.jpg" for i in range(count) for j in range(images)]
    return Embeddings(keys, views.reshape(-1, 2, 8).astype(np.float32), {})


def make_pairs(count, num_folds=3, images=4):
    """For each identity two matched pairs, and two with the next identity."""
    rows = []
    for i in range(count):
        key, other = (f"P{j}/P{j}_{{}}.jpg" for j in (i, (i + 1) % count))
        for j in range(2):
            rows.append((key.format(j), key.format(images - 1 - j), True, i % num_folds + 1))
            rows.append((key.format(j), other.format(j), False, i % num_folds + 1))
    first, second, is_same, folds = zip(*rows, strict=True)
    return lfw.Pairs(list(first), list(second), np.array(is_same), np.array(folds))


def both_keys(pairs):
    return list(zip(pairs.first, pairs.second, strict=True))


def evaluation_metrics(verification: Verification) -> EvaluationMetrics:
    """Contents of metrics.json with some numbers that are easily recognized."""
    count = len(verification.pairs.identities())
    drawn = draw_embeddings(count, spread=1.5)
    angles = measure_angles(verification.pairs, drawn, has_names=True)
    return EvaluationMetrics(
        model="run/export",
        set="lfw",
        warnings=("Repeated pairs: 3.",),
        verification=dataclasses.replace(
            verification.metrics,
            accuracy_mean=0.912345,
            eer=0.0876,
            missing={"A/1.jpg": "no such image"},
        ),
        criterion=measure_criterion(angles),
        variants=(AccuracyVariant("without repeated pairs", 33, None),),
    )
