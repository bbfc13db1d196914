"""Readers of verification pairs and of templates."""

from keras_sphereface.data.pairs.drawn_pairs import draw_pairs
from keras_sphereface.data.pairs.insightface_bin import pairs_from_bin, read_bin, write_bin
from keras_sphereface.data.pairs.lfw import Pairs, identity_of_key, read_pairs, write_pairs
from keras_sphereface.data.pairs.pair_list import read_pair_list, write_pair_list
from keras_sphereface.data.pairs.templates import read_templates

__all__ = [
    "Pairs",
    "draw_pairs",
    "identity_of_key",
    "pairs_from_bin",
    "read_bin",
    "read_pair_list",
    "read_pairs",
    "read_templates",
    "write_bin",
    "write_pair_list",
    "write_pairs",
]
