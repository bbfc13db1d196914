"""Identification: search in a gallery, CMC, DIR, and rates among distractors."""

from keras_sphereface.metrics.identification.closed_set import cmc, rank_k
from keras_sphereface.metrics.identification.gallery_size import fmr_for_fpir, fpir_of_fmr
from keras_sphereface.metrics.identification.megaface import MegaFaceResult, evaluate_megaface
from keras_sphereface.metrics.identification.nearest import NearestIdentities, nearest_identities
from keras_sphereface.metrics.identification.open_set import DirCurve, dir_at_far, dir_curve
from keras_sphereface.metrics.identification.search import SearchResult, search_gallery

__all__ = [
    "DirCurve",
    "MegaFaceResult",
    "NearestIdentities",
    "SearchResult",
    "cmc",
    "dir_at_far",
    "dir_curve",
    "evaluate_megaface",
    "fmr_for_fpir",
    "fpir_of_fmr",
    "nearest_identities",
    "rank_k",
    "search_gallery",
]
