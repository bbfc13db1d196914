"""Experiments: feature spheres, margin figures, and the comparison of losses."""

from keras_sphereface.experiments.margin_figures import margin_bounds

__all__ = ["margin_bounds"]
