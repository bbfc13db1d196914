"""Protocols on models and files: verification, identification, reports."""

from keras_sphereface.evaluation.embeddings import Embeddings
from keras_sphereface.evaluation.evaluate import evaluate
from keras_sphereface.evaluation.face_pairs import PairDataset, PairSources

__all__ = [
    "Embeddings",
    "PairDataset",
    "PairSources",
    "evaluate",
]
